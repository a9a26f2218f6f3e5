package connector

import (
	"encoding/json"
	"time"

	"meters/internal/link"
	"meters/internal/orders"
	"meters/internal/settings"
)

const lookFor = 2 * time.Second

// kept are the topics on which states are retained.
var kept = []string{"devices/+/state", "devices/+/state/+"}

// get answers a request for the state of a device (I2M-GET).
func (c *Connector) get(name string, payload []byte) {
	one := c.byID[name]
	if one == nil || !one.Enabled {
		return
	}
	if len(payload) == 0 || string(payload) == "null" {
		one.refresh()
		return
	}
	fields, ok := orders.Fields(payload)
	if !ok {
		c.log.Warn("a get is ignored: it must be an object", "device", name)
		return
	}
	wanted, given := fields["properties"]
	if !given {
		one.refresh()
		return
	}
	var names []string
	if json.Unmarshal(wanted, &names) != nil {
		c.log.Warn("a get is ignored: properties must be a list of names", "device", name)
		return
	}
	one.refreshPart(names)
}

// answerMeta answers a question about the instance; an unknown one has no answer (I2M-META-05).
func (c *Connector) answerMeta(question string) {
	switch question {
	case "info":
		c.link.Publish(link.Stamped("meta/info", map[string]any{
			"instance_id":    c.environment.Instance,
			"connector_type": c.environment.ConnectorType,
			"devices_count":  len(c.devices),
			"groups_count":   len(c.groups),
			"uptime":         time.Since(c.started).Truncate(time.Millisecond).Seconds(),
		}))
	case "devices_list":
		list := []map[string]any{}
		for _, one := range c.devices {
			list = append(list, map[string]any{
				"device_id": one.ID,
				"global_id": c.environment.Instance + "_" + one.ID,
				"model":     one.Model,
				"enabled":   one.Enabled,
				"online":    one.isOnline(),
			})
		}
		c.link.Publish(link.JSON("meta/devices_list", list))
	}
}

// clearLeftover clears what the broker keeps of a device that has left the configuration (I2M-LIFE-11).
func (c *Connector) clearLeftover(arrival link.Arrival) {
	name := arrival.Levels[1]
	if !arrival.Retained || len(arrival.Payload) == 0 || c.byID[name] != nil || !settings.IsName(name) {
		return
	}
	c.log.Info("it is not configured any more: what is kept of it is cleared", "device", name)
	suffix := "devices/" + name + "/state"
	if len(arrival.Levels) > 3 {
		suffix += "/" + arrival.Levels[3]
	}
	c.link.Publish(&link.Message{Suffix: suffix, QoS: 1, Retain: true, Keep: true})
}
