package connector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"meters/internal/link"
	"meters/internal/meter"
	"meters/internal/orders"
	"meters/internal/settings"
)

const (
	mostJobs       = 1_000
	longestBackoff = 8 // update intervals
)

// device is one meter. All that is done with it is done by one goroutine, one thing after another, so that a slow or
// failing meter delays no other.
type device struct {
	settings.Device
	meter    *meter.Meter
	link     *link.Link
	log      *slog.Logger
	interval time.Duration
	qos      byte
	retain   bool

	jobs     chan func(context.Context)
	values   meter.Values // nil before the first answer
	failures int
	due      time.Time
	timer    *time.Timer

	mutex  sync.Mutex // of what other goroutines may see
	online bool
	asked  bool // whether a refresh waits among the jobs
}

// run polls, in step with the clock, and does jobs in between, until ctx ends.
func (d *device) run(ctx context.Context) {
	defer d.meter.Close()
	d.due = time.Now()
	d.timer = time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.timer.C:
			d.schedule(d.interval)
			d.poll(ctx)
		case job := <-d.jobs:
			job(ctx)
		}
	}
}

// schedule sets the next poll. One that comes late does not make all later ones late; missed ones are not made up for.
func (d *device) schedule(pause time.Duration) {
	d.due = d.due.Add(pause)
	if now := time.Now(); d.due.Before(now) {
		d.due = now
	}
	d.timer.Reset(time.Until(d.due))
}

func (d *device) poll(ctx context.Context) {
	d.read(ctx)
	d.publish(ctx)
}

// refresh reads and publishes the whole state; what is asked while that is still to be done is answered by it.
func (d *device) refresh() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.asked {
		d.asked = d.do(func(ctx context.Context) {
			d.mutex.Lock()
			d.asked = false
			d.mutex.Unlock()
			d.poll(ctx)
		})
	}
}

// announce says, after a reconnection, what is known at once where asking would come too early.
func (d *device) announce() {
	d.do(func(ctx context.Context) {
		if d.failures == 0 {
			d.read(ctx)
		}
		d.publish(ctx)
	})
}

// refreshPart answers with some properties; what the broker keeps stays whole (I2M-GET-02, I2M-GET-03).
func (d *device) refreshPart(names []string) {
	d.do(func(ctx context.Context) {
		d.read(ctx)
		part := meter.Values{}
		for _, name := range names {
			if value, known := d.values[name]; known {
				part[name] = value
			}
		}
		message := d.message(part)
		message.Retain = false
		d.link.Publish(message)
	})
}

// command carries out values within a limit and answers exactly once: with what took effect, or with a refusal.
// A command that has to wait for its turn past its limit is answered then, and never carried out (I2M-CMD-14).
func (d *device) command(values meter.Values, limit time.Duration, answer func(meter.Values, *orders.Refusal)) {
	var once sync.Once
	over, cancel := context.WithCancel(context.Background())
	finish := func(result meter.Values, refusal *orders.Refusal) {
		once.Do(func() { answer(result, refusal) })
	}
	timer := time.AfterFunc(limit, func() {
		cancel()
		finish(nil, orders.TooLate())
	})
	accepted := d.do(func(ctx context.Context) {
		defer timer.Stop()
		defer cancel()
		if over.Err() == nil {
			d.carryOut(ctx, over, values, finish)
		}
	})
	if !accepted {
		timer.Stop()
		finish(nil, &orders.Refusal{Code: "device_error", Message: "too many commands wait for the device", Retriable: true})
	}
}

func (d *device) carryOut(
	ctx, over context.Context, values meter.Values, finish func(meter.Values, *orders.Refusal),
) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(over, cancel)()
	err := d.meter.Write(within, values)
	if err == nil {
		var now meter.Values
		if now, err = d.meter.Read(within); err == nil {
			d.succeed(now)
		}
	}
	switch {
	case ctx.Err() != nil: // what came of it nobody can say who is about to leave
	case over.Err() != nil: // it may have been carried out or not: what the device shows now is the truth
		d.poll(ctx)
	case err != nil:
		d.fail(err)
		d.publish(ctx)
		finish(nil, &orders.Refusal{Code: "device_error", Message: err.Error(), Retriable: true})
	default:
		d.publish(ctx)
		result := meter.Values{}
		for name := range values {
			result[name] = d.values[name]
		}
		finish(result, nil)
	}
}

// do gives the device a job; false where it has too many already.
func (d *device) do(job func(context.Context)) bool {
	select {
	case d.jobs <- job:
		return true
	default:
		return false
	}
}

func (d *device) read(ctx context.Context) {
	values, err := d.meter.Read(ctx)
	if err == nil {
		d.succeed(values)
	} else if !errors.Is(ctx.Err(), context.Canceled) {
		d.fail(err)
	}
}

func (d *device) succeed(values meter.Values) {
	values["online"] = true
	d.values = values
	if d.failures > 0 {
		d.log.Info("answers again")
		d.failures = 0
		d.due = time.Now()
		d.schedule(d.interval)
	}
	d.setOnline(true)
}

// fail says that the device does not answer, and when it is tried again (I2M-ERR-02, I2M-ERR-05). Nothing else is
// known of it any more (I2M-STATE-07).
func (d *device) fail(err error) {
	d.failures++
	d.values = meter.Values{"online": false}
	d.setOnline(false)
	pause := d.interval * time.Duration(min(1<<min(d.failures-1, 30), longestBackoff))
	d.due = time.Now()
	d.schedule(pause)
	d.log.Warn("does not answer", "attempt", d.failures, "reason", err)
	message := link.Stamped("devices/"+d.ID+"/error", map[string]any{
		"error_code": "device_error",
		"message":    err.Error(),
		"severity":   "error",
		"retry_info": map[string]any{"attempt": d.failures, "next_retry": link.Time(d.due)},
	})
	message.Keep = true
	d.link.Publish(message)
}

// publish says the whole state, and each property on a topic of its own (I2M-STATE-01, I2M-STATE-04).
func (d *device) publish(ctx context.Context) {
	if ctx.Err() != nil || d.values == nil {
		return
	}
	whole := d.message(d.values)
	whole.Latest = true
	d.link.Publish(whole)
	for name, value := range d.values {
		message := link.JSON("devices/"+d.ID+"/state/"+name, value)
		message.QoS, message.Retain, message.With = d.qos, d.retain, whole
		d.link.Publish(message)
	}
}

func (d *device) message(state meter.Values) *link.Message {
	message := link.Stamped("devices/"+d.ID+"/state", map[string]any{"device_id": d.ID, "state": state})
	message.QoS, message.Retain = d.qos, d.retain
	return message
}

func (d *device) setOnline(online bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.online = online
}

// isOnline says whether the device answered when it was last asked (I2M-META-04).
func (d *device) isOnline() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.online
}
