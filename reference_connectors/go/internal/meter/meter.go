// Package meter knows the registers of the energy meters and of the gateway before them. It knows nothing of MQTT.
package meter

import (
	"context"
	"fmt"
	"math"
	"time"

	"meters/internal/modbus"
)

// The registers. Input registers: voltage in 0.1 V, power in W and energy in Wh of two registers each, frequency in
// 0.01 Hz. Coil 0 is the contactor, holding register 0 the limit in W.
const (
	Measured     = 6
	RelayCoil    = 0
	LimitAt      = 0
	LeastLimit   = 100
	MostLimit    = 20_000
	GatewayUnit  = 255
	GatewayMagic = 0x4D47 // in the gateway's input register 0; in register 1, how many meters there are
	patience     = 5 * time.Second
)

// Values are all properties of a meter.
type Values map[string]any

// Meter is one meter behind a gateway.
type Meter struct {
	client modbus.Client
}

// New returns the meter with a unit number behind the gateway at an address; it is called when it is asked something.
func New(address string, unit byte) *Meter {
	return &Meter{client: modbus.Client{Address: address, Unit: unit, Timeout: patience}}
}

// Read returns all values.
func (m *Meter) Read(ctx context.Context) (Values, error) {
	measured, err := m.client.Registers(ctx, modbus.ReadInputRegisters, 0, Measured)
	if err != nil {
		return nil, err
	}
	limit, err := m.client.Registers(ctx, modbus.ReadHoldingRegisters, LimitAt, 1)
	if err != nil {
		return nil, err
	}
	relay, err := m.client.Bits(ctx, modbus.ReadCoils, RelayCoil, 1)
	if err != nil {
		return nil, err
	}
	return Values{
		"voltage":   float64(measured[0]) / 10,
		"power":     int32(uint32(measured[1])<<16 | uint32(measured[2])),
		"energy":    float64(uint32(measured[3])<<16|uint32(measured[4])) / 1000,
		"frequency": float64(measured[5]) / 100,
		"limit":     limit[0],
		"relay":     relay[0],
	}, nil
}

// Write sets values that Check has let pass.
func (m *Meter) Write(ctx context.Context, values Values) error {
	if limit, ok := values["limit"]; ok {
		if err := m.client.SetRegister(ctx, LimitAt, uint16(limit.(float64))); err != nil {
			return err
		}
	}
	if relay, ok := values["relay"]; ok {
		return m.client.SetCoil(ctx, RelayCoil, relay.(bool))
	}
	return nil
}

// Close hangs up.
func (m *Meter) Close() { m.client.Close() }

// UnknownProperty and WrongValue say why a meter cannot take values.
type (
	UnknownProperty struct{ Name string }
	WrongValue      struct{ Name, Wanted string }
)

func (e UnknownProperty) Error() string { return "a meter takes relay and limit only" }
func (e WrongValue) Error() string      { return fmt.Sprintf("%s must be %s", e.Name, e.Wanted) }

// Check refuses all values where a meter cannot take one of them (I2M-CMD-09).
func Check(values Values) error {
	for name, value := range values {
		switch name {
		case "relay":
			if _, ok := value.(bool); !ok {
				return WrongValue{name, "true or false"}
			}
		case "limit":
			watts, ok := value.(float64)
			if !ok || watts != math.Trunc(watts) || watts < LeastLimit || watts > MostLimit {
				return WrongValue{name, fmt.Sprintf("a whole number of watts from %d to %d", LeastLimit, MostLimit)}
			}
		default:
			return UnknownProperty{name}
		}
	}
	return nil
}
