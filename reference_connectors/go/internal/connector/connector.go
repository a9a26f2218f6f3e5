// Package connector is one instance: what its messages ask for, and what it tells by itself.
package connector

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"meters/internal/link"
	"meters/internal/meter"
	"meters/internal/orders"
	"meters/internal/settings"
)

// Connector is one instance.
type Connector struct {
	environment *settings.Environment
	log         *slog.Logger
	link        *link.Link
	devices     []*device
	byID        map[string]*device
	groups      map[string][]string
	seen        orders.Seen // of the goroutine that hands over arrivals
	started     time.Time
	leftovers   sync.Once
	running     context.Context
}

// New returns the connector of an instance.
func New(environment *settings.Environment, instance *settings.Instance, to *link.Link, log *slog.Logger) *Connector {
	c := &Connector{
		environment: environment,
		log:         log,
		link:        to,
		byID:        map[string]*device{},
		groups:      map[string][]string{},
		started:     time.Now(),
	}
	address := Address(instance.Address)
	for _, configured := range instance.Devices {
		one := &device{
			Device:   configured,
			meter:    meter.New(address, configured.Unit),
			link:     to,
			log:      log.With("device", configured.ID),
			interval: instance.Interval,
			qos:      environment.QoS,
			retain:   environment.Retain,
			jobs:     make(chan func(context.Context), mostJobs),
		}
		c.devices = append(c.devices, one)
		c.byID[one.ID] = one
	}
	for _, group := range instance.Groups {
		c.groups[group.ID] = group.Devices
	}
	return c
}

// Address is where a connection leads to.
func Address(to settings.Connection) string { return net.JoinHostPort(to.Host, strconv.Itoa(to.Port)) }

// Run works until ctx ends, and returns once `offline` is said.
func (c *Connector) Run(ctx context.Context, gateway *meter.Gateway) {
	c.running = ctx
	var all sync.WaitGroup
	all.Go(func() { gateway.WatchCovers(ctx, c.onCover) })
	for _, one := range c.enabled() {
		all.Go(func() { one.run(ctx) })
	}
	c.link.Run(ctx, c)
	all.Wait()
}

// Filters returns the subscriptions that the contract requires.
func (c *Connector) Filters() []string {
	return []string{"devices/+/cmd", "devices/+/get", "groups/+/cmd", "meta/request/+"}
}

// OnOnline publishes all states without waiting for the next poll (I2M-STATE-06).
func (c *Connector) OnOnline() {
	c.leftovers.Do(func() { go c.link.Listen(c.running, kept, lookFor) })
	for _, one := range c.enabled() {
		one.announce()
	}
}

// OnArrival takes one message after another.
func (c *Connector) OnArrival(arrival link.Arrival) {
	levels := arrival.Levels
	if len(levels) > 2 && levels[2] == "state" {
		c.clearLeftover(arrival)
		return
	}
	// What is retained was meant for an earlier time (I2M-CMD-13).
	if arrival.Retained || len(levels) != 3 || !settings.IsName(levels[1]) || !settings.IsName(levels[2]) {
		return
	}
	c.log.Debug("arrived", "topic", levels, "bytes", len(arrival.Payload))
	switch {
	case levels[0] == "devices" && levels[2] == "cmd":
		c.commandDevice(levels[1], arrival.Payload)
	case levels[0] == "groups" && levels[2] == "cmd":
		c.commandGroup(levels[1], arrival.Payload)
	case levels[0] == "devices" && levels[2] == "get":
		c.get(levels[1], arrival.Payload)
	case levels[0] == "meta" && levels[1] == "request":
		c.answerMeta(levels[2])
	}
}

// onCover tells that somebody has opened or closed the terminal cover of a meter (I2M-EVT-02).
func (c *Connector) onCover(unit byte, open bool) {
	event := map[bool]string{true: "cover_opened", false: "cover_closed"}[open]
	for _, one := range c.enabled() {
		if one.Unit == unit {
			message := link.Stamped("devices/"+one.ID+"/events", map[string]any{"event": event, "data": map[string]any{}})
			message.Keep = true
			c.link.Publish(message)
		}
	}
}

func (c *Connector) enabled() []*device {
	var found []*device
	for _, one := range c.devices {
		if one.Enabled {
			found = append(found, one)
		}
	}
	return found
}
