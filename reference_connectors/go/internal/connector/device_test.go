package connector

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"meters/internal/link"
	"meters/internal/meter"
	"meters/internal/orders"
	"meters/internal/settings"
	"meters/internal/simulator"
)

// bench is a device of a simulated gateway, which is not polled by itself.
func bench(t *testing.T) (*device, string) {
	t.Helper()
	gateway, err := simulator.Listen(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one := &device{
		Device:   settings.Device{ID: "meter1", Unit: 1, Enabled: true},
		meter:    meter.New(gateway.Address(), 1),
		link:     link.New(&settings.Environment{}, slog.New(slog.DiscardHandler)),
		log:      slog.New(slog.DiscardHandler),
		interval: time.Hour,
		jobs:     make(chan func(context.Context), 2),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		one.run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		gateway.Close()
	})
	return one, gateway.Address()
}

type outcome struct {
	result  meter.Values
	refusal *orders.Refusal
}

func command(one *device, values meter.Values, limit time.Duration) chan outcome {
	told := make(chan outcome, 5)
	one.command(values, limit, func(result meter.Values, refusal *orders.Refusal) { told <- outcome{result, refusal} })
	return told
}

func TestACommandIsAnsweredWithWhatTookEffect(t *testing.T) {
	one, _ := bench(t)
	got := <-command(one, meter.Values{"limit": 700.0}, time.Minute)
	if got.refusal != nil || got.result["limit"] != uint16(700) || len(got.result) != 1 {
		t.Errorf("%+v", got)
	}
	if !one.isOnline() {
		t.Error("a device that has answered is not online")
	}
}

func TestACommandWhoseTimeIsUpIsNeverCarriedOut(t *testing.T) {
	one, address := bench(t)
	<-command(one, meter.Values{"limit": 700.0}, time.Minute)
	if err := simulator.Tell(address, []string{"slow", "meter1", "200ms"}); err != nil {
		t.Fatal(err)
	}
	first := command(one, meter.Values{"relay": true}, time.Minute)
	late := command(one, meter.Values{"limit": 800.0}, 50*time.Millisecond)
	if got := <-late; got.refusal == nil || got.refusal.Code != "timeout" {
		t.Errorf("%+v", got)
	}
	<-first
	if got := <-command(one, meter.Values{"relay": false}, time.Minute); got.refusal != nil {
		t.Errorf("%+v", got)
	}
	values, err := one.meter.Read(context.Background())
	if err != nil || values["limit"] != uint16(700) {
		t.Errorf("%v, %v", values, err)
	}
	if len(late) != 0 {
		t.Error("it was answered twice")
	}
}

func TestADeviceThatDoesNotAnswerIsOfflineUntilItDoes(t *testing.T) {
	one, address := bench(t)
	for _, step := range []struct {
		word   string
		online bool
	}{{"fail", false}, {"recover", true}} {
		if err := simulator.Tell(address, []string{step.word, "meter1"}); err != nil {
			t.Fatal(err)
		}
		got := <-command(one, meter.Values{"relay": true}, time.Minute)
		if (got.refusal == nil) != step.online || one.isOnline() != step.online {
			t.Errorf("%s: %+v, online %v", step.word, got, one.isOnline())
		}
	}
}

func TestMoreCommandsThanADeviceCanKeepAreRefused(t *testing.T) {
	one, address := bench(t)
	<-command(one, meter.Values{"relay": true}, time.Minute)
	if err := simulator.Tell(address, []string{"slow", "meter1", "100ms"}); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for range 10 {
		told := command(one, meter.Values{"relay": true}, time.Minute)
		select {
		case got := <-told:
			if got.refusal != nil && got.refusal.Retriable {
				refused++
			}
		default:
		}
	}
	if refused < 7 {
		t.Errorf("%d of 10 were refused, and the device keeps 2", refused)
	}
}
