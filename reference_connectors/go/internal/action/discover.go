package action

import (
	"context"
	"fmt"
	"time"

	"meters/internal/meter"
)

// eachWithin is how long a meter may take: a gateway waits about a second for one that is not there.
const eachWithin = 2 * time.Second

// found is a meter as the setup flow shows it.
type found struct {
	Unit    int    `json:"unit"`
	Name    string `json:"name"`
	Answers bool   `json:"answers"`
	Label   string `json:"label"`
}

// Discover lists the meters behind a gateway with what they show, by which somebody can tell them apart. One that does
// not answer now is listed as well: it may do so later.
func Discover(input Input) (any, *Failure) {
	address, failure := addressOf(input)
	if failure != nil {
		return nil, failure
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	units, failure := count(ctx, address)
	if failure != nil {
		return nil, failure
	}
	if units == 0 {
		message := fmt.Sprintf("the gateway at %s has no meters: connect them to its bus first", address)
		return nil, &Failure{Code: "no_meters", Message: message, Retriable: true}
	}
	meters := make([]found, 0, units)
	for unit := 1; unit <= units; unit++ {
		meters = append(meters, look(address, unit))
	}
	return map[string]any{"meters": meters}, nil
}

// look asks one meter: those on a bus can only be asked one after another.
func look(address string, unit int) found {
	ctx, cancel := context.WithTimeout(context.Background(), eachWithin)
	defer cancel()
	one := meter.New(address, byte(unit))
	defer one.Close()
	name := fmt.Sprintf("meter%d", unit)
	values, err := one.Read(ctx)
	if err != nil {
		return found{Unit: unit, Name: name, Label: fmt.Sprintf("%s: no answer (%s)", name, err)}
	}
	// Nothing that changes from one moment to the next: asked twice, the answer is the same (I2M-ACT-08).
	contactor := "off"
	if values["relay"] == true {
		contactor = "on"
	}
	label := fmt.Sprintf("%s: %.0f kWh, contactor %s, limit %v W", name, values["energy"], contactor, values["limit"])
	return found{Unit: unit, Name: name, Answers: true, Label: label}
}
