package action

import (
	"context"
	"time"
)

const patience = 3 * time.Second

// Validate says whether there is a gateway at an address, and how many meters it has.
func Validate(input Input) (any, *Failure) {
	address, failure := addressOf(input)
	if failure != nil {
		return nil, failure
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, failure := count(ctx, address)
	if failure != nil {
		return nil, failure
	}
	return map[string]any{"count": found}, nil
}
