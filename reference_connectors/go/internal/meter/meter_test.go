package meter_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"meters/internal/meter"
	"meters/internal/simulator"
)

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	gateway, err := simulator.Listen(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	one := meter.New(gateway.Address(), 2)
	defer one.Close()
	if err := one.Write(context.Background(), meter.Values{"relay": false, "limit": 1500.0}); err != nil {
		t.Fatal(err)
	}
	values, err := one.Read(context.Background())
	if err != nil || values["relay"] != false || values["limit"] != uint16(1500) || values["power"] != int32(0) {
		t.Errorf("%v, %v", values, err)
	}
}

func TestValuesThatAMeterCannotTakeAreRefusedAsAWhole(t *testing.T) {
	for name, wrong := range map[string][]any{
		"relay": {"on", 1.0, nil},
		"limit": {"high", 99.0, 20001.0, 150.5, true},
	} {
		for _, value := range wrong {
			var fault meter.WrongValue
			if err := meter.Check(meter.Values{name: value}); !errors.As(err, &fault) || fault.Name != name {
				t.Errorf("%s = %v: %v", name, value, err)
			}
		}
	}
	var unknown meter.UnknownProperty
	if err := meter.Check(meter.Values{"voltage": 1.0}); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
}

func TestACoverThatIsOpenedAndClosedIsToldWithinASecond(t *testing.T) {
	gateway, err := simulator.Listen(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type told struct {
		unit byte
		open bool
	}
	events := make(chan told, 10)
	go meter.NewGateway(gateway.Address()).WatchCovers(ctx, func(unit byte, open bool) { events <- told{unit, open} })
	for _, step := range []struct {
		word string
		want told
	}{{"open", told{3, true}}, {"close", told{3, false}}} {
		<-time.After(300 * time.Millisecond) // more than a look: what is so before the first one is no news
		if err := simulator.Tell(gateway.Address(), []string{step.word, "meter3"}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-events:
			if got != step.want {
				t.Errorf("%v, not %v", got, step.want)
			}
		case <-time.After(time.Second):
			t.Errorf("nothing within a second of %s", step.word)
		}
	}
}

func TestAnotherModbusDeviceIsNoGateway(t *testing.T) {
	gateway, err := simulator.Listen(simulator.Options{Foreign: true})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	if _, err := meter.NewGateway(gateway.Address()).Identify(context.Background()); !errors.Is(err, meter.ErrOtherDevice) {
		t.Errorf("%v", err)
	}
}
