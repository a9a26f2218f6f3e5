package modbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"meters/internal/meter"
	"meters/internal/modbus"
	"meters/internal/simulator"
)

func gateway(t *testing.T) *simulator.Gateway {
	t.Helper()
	found, err := simulator.Listen(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { found.Close() })
	return found
}

func tell(t *testing.T, at *simulator.Gateway, words ...string) {
	t.Helper()
	if err := simulator.Tell(at.Address(), words); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerThatGoesWrongIsAnErrorAndTheNextOneIsRead(t *testing.T) {
	for _, fault := range simulator.Faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			at := gateway(t)
			client := modbus.Client{Address: at.Address(), Unit: 1, Timeout: 300 * time.Millisecond}
			defer client.Close()
			ask := func() ([]uint16, error) {
				return client.Registers(context.Background(), modbus.ReadInputRegisters, 0, meter.Measured)
			}
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
			tell(t, at, "fault", "meter1", fault)
			if found, err := ask(); err == nil {
				t.Errorf("no error, but %v", found)
			}
			tell(t, at, "recover", "meter1")
			if found, err := ask(); err != nil || found[0] < 2000 {
				t.Errorf("%v, %v after the fault", found, err)
			}
		})
	}
}

func TestARefusalOfTheGatewayIsAnException(t *testing.T) {
	at := gateway(t)
	for unit, wanted := range map[byte]modbus.Exception{1: 11, 9: 10} {
		tell(t, at, "fail", "meter1")
		client := modbus.Client{Address: at.Address(), Unit: unit, Timeout: time.Second}
		defer client.Close()
		_, err := client.Bits(context.Background(), modbus.ReadCoils, 0, 1)
		var got modbus.Exception
		if !errors.As(err, &got) || got != wanted {
			t.Errorf("unit %d: %v, not exception %d", unit, err, wanted)
		}
	}
}

func TestAQuestionThatIsGivenUpEndsAtOnce(t *testing.T) {
	at := gateway(t)
	tell(t, at, "slow", "meter1", "1m")
	client := modbus.Client{Address: at.Address(), Unit: 1, Timeout: time.Minute}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := client.SetCoil(ctx, 0, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
