package connector

import (
	"errors"
	"sync"
	"time"

	"meters/internal/link"
	"meters/internal/meter"
	"meters/internal/orders"
)

// accept reads a command; nil where it is one that was seen before, or is refused and answered already.
func (c *Connector) accept(target string, payload []byte, refused func(*orders.Command, *orders.Refusal)) *orders.Command {
	command, refusal := orders.Parse(payload, time.Now())
	if command.ID != nil && c.seen.Repeats(target+" "+*command.ID, time.Now()) {
		return nil
	}
	if refusal != nil {
		refused(command, refusal)
		return nil
	}
	return command
}

func (c *Connector) commandDevice(name string, payload []byte) {
	target := "devices/" + name
	refuse := func(command *orders.Command, refusal *orders.Refusal) {
		c.log.Warn("a command is refused", "target", target, "reason", refusal.Message)
		c.respond(target, command, map[string]any{"status": "error", "error": refusal})
	}
	command := c.accept(target, payload, refuse)
	if command == nil {
		return
	}
	one, refusal := c.addressee(name, command.Values)
	if refusal != nil {
		refuse(command, refusal)
		return
	}
	one.command(command.Values, command.Limit, func(result meter.Values, refusal *orders.Refusal) {
		if refusal != nil {
			refuse(command, refusal)
			return
		}
		c.respond(target, command, map[string]any{"status": "success", "result": result})
	})
}

// addressee returns the device that a command is for, if it can take the values (I2M-CMD-05, I2M-CMD-07, I2M-CMD-09).
func (c *Connector) addressee(name string, values meter.Values) (*device, *orders.Refusal) {
	one := c.byID[name]
	if one == nil {
		return nil, orders.Refuse("unknown_device", "no such device is configured")
	}
	if !one.Enabled {
		return nil, orders.Refuse("device_disabled", "%s is disabled", name)
	}
	var unknown meter.UnknownProperty
	err := meter.Check(values)
	if errors.As(err, &unknown) {
		return nil, orders.Refuse("unsupported_property", "%s", err)
	}
	if err != nil {
		return nil, orders.Refuse("invalid_value", "%s", err)
	}
	return one, nil
}

// commandGroup commands all members at the same time; those that are unknown or disabled are skipped (I2M-GROUP-02).
func (c *Connector) commandGroup(name string, payload []byte) {
	target := "groups/" + name
	refuse := func(command *orders.Command, refusal *orders.Refusal) {
		c.log.Warn("a command is refused", "target", target, "reason", refusal.Message)
		c.respond(target, command, map[string]any{"status": "error", "error": refusal, "results": map[string]any{}})
	}
	command := c.accept(target, payload, refuse)
	if command == nil {
		return
	}
	members, known := c.groups[name]
	if !known {
		refuse(command, orders.Refuse("unknown_group", "no such group is configured"))
		return
	}
	able := []string{}
	for _, member := range members {
		if one := c.byID[member]; one != nil && one.Enabled {
			able = append(able, member)
		}
	}
	gathered := &results{wanted: len(able), each: map[string]any{}}
	gathered.done = func() { c.respond(target, command, gathered.answer()) }
	for _, member := range able {
		c.commandMember(member, command, gathered)
	}
	if len(able) == 0 {
		gathered.done()
	}
}

func (c *Connector) commandMember(name string, command *orders.Command, gathered *results) {
	one, refusal := c.addressee(name, command.Values)
	if refusal != nil {
		gathered.add(name, refusal)
		return
	}
	one.command(command.Values, command.Limit, func(_ meter.Values, refusal *orders.Refusal) {
		gathered.add(name, refusal)
	})
}

// results gathers what came of a group command; the last member answers it (I2M-GROUP-04).
type results struct {
	mutex  sync.Mutex
	wanted int
	failed int
	each   map[string]any
	done   func()
}

func (r *results) add(member string, refusal *orders.Refusal) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if refusal == nil {
		r.each[member] = map[string]any{"status": "success"}
	} else {
		r.failed++
		r.each[member] = map[string]any{"status": "error", "error": refusal}
	}
	if len(r.each) == r.wanted {
		r.done()
	}
}

func (r *results) answer() map[string]any {
	status := "partial"
	switch r.failed {
	case 0:
		status = "success"
	case r.wanted:
		status = "error"
	}
	return map[string]any{"status": status, "results": r.each}
}

// respond answers a command that has an id (I2M-CMD-02, I2M-CMD-03).
func (c *Connector) respond(target string, command *orders.Command, body map[string]any) {
	if command.ID == nil {
		return
	}
	body["cmd_id"] = *command.ID
	message := link.Stamped(target+"/cmd/response", body)
	message.Keep = true
	c.link.Publish(message)
}
