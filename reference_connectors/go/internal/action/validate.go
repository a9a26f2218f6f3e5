package action

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"meters/internal/meter"
)

const patience = 3 * time.Second

// Validate says whether there is a gateway at an address, and which meters are behind it.
func Validate(input Input) (any, *Failure) {
	host, failure := input.Text("host")
	if failure != nil {
		return nil, failure
	}
	port, failure := input.Number("port", 502, 1, 65535)
	if failure != nil {
		return nil, failure
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	gateway := meter.NewGateway(net.JoinHostPort(host, strconv.Itoa(port)))
	defer gateway.Close()
	count, err := gateway.Identify(ctx)
	if errors.Is(err, meter.ErrOtherDevice) {
		return nil, &Failure{Code: "not_a_gateway", Message: err.Error()}
	}
	if err != nil {
		message := fmt.Sprintf("no gateway answers at %s:%d (%s); is the address right?", host, port, err)
		return nil, &Failure{Code: "unreachable", Message: message, Retriable: true}
	}
	meters := []map[string]any{}
	for unit := 1; unit <= count; unit++ {
		meters = append(meters, map[string]any{"unit": unit, "name": fmt.Sprintf("meter%d", unit)})
	}
	return map[string]any{"meters": meters}, nil
}
