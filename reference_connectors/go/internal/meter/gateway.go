package meter

import (
	"context"
	"errors"
	"time"

	"meters/internal/modbus"
)

const (
	lookEvery = 250 * time.Millisecond
	callAgain = 2 * time.Second
)

// ErrOtherDevice means that something else than a gateway of meters answers.
var ErrOtherDevice = errors.New("what answers there speaks Modbus, but is no gateway of these meters")

// Gateway is what stands between the network and the bus of the meters.
type Gateway struct {
	client modbus.Client
}

// NewGateway returns the gateway at an address.
func NewGateway(address string) *Gateway {
	return &Gateway{client: modbus.Client{Address: address, Unit: GatewayUnit, Timeout: patience}}
}

// Identify returns how many meters there are.
func (g *Gateway) Identify(ctx context.Context) (int, error) {
	found, err := g.client.Registers(ctx, modbus.ReadInputRegisters, 0, 2)
	var refusal modbus.Exception
	if errors.As(err, &refusal) || (err == nil && found[0] != GatewayMagic) {
		return 0, ErrOtherDevice
	}
	if err != nil {
		return 0, err
	}
	return int(found[1]), nil
}

// Close hangs up.
func (g *Gateway) Close() { g.client.Close() }

// WatchCovers tells when the terminal cover of a meter is opened or closed, until ctx ends. Modbus has no way to be
// told, so the gateway, which collects these contacts, is asked several times a second; the meters are left alone.
// Where the gateway does not answer, the polls of the meters report it.
func (g *Gateway) WatchCovers(ctx context.Context, told func(unit byte, open bool)) {
	defer g.Close()
	var before []bool
	for {
		pause := callAgain
		if now, err := g.covers(ctx); err == nil {
			for index, open := range now {
				if index < len(before) && open != before[index] {
					told(byte(index+1), open)
				}
			}
			before, pause = now, lookEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (g *Gateway) covers(ctx context.Context) ([]bool, error) {
	count, err := g.Identify(ctx)
	if err != nil || count == 0 {
		return nil, err
	}
	return g.client.Bits(ctx, modbus.ReadDiscreteInputs, 0, uint16(count))
}
