package action

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"meters/internal/meter"
)

// addressOf returns where the gateway is said to be.
func addressOf(input Input) (string, *Failure) {
	host, failure := input.Text("host")
	if failure != nil {
		return "", failure
	}
	port, failure := input.Number("port", 502, 1, 65535)
	if failure != nil {
		return "", failure
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// count returns how many meters the gateway at an address has.
func count(ctx context.Context, address string) (int, *Failure) {
	gateway := meter.NewGateway(address)
	defer gateway.Close()
	found, err := gateway.Identify(ctx)
	if errors.Is(err, meter.ErrOtherDevice) {
		return 0, &Failure{Code: "not_a_gateway", Message: err.Error()}
	}
	if err != nil {
		message := fmt.Sprintf("no gateway answers at %s (%s); is the address right?", address, err)
		return 0, &Failure{Code: "unreachable", Message: message, Retriable: true}
	}
	return found, nil
}
