// Package health tells a container's HEALTHCHECK, without a port, that the connector is online.
package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	every   = 5 * time.Second
	expires = 3 * every
)

// Report touches a file again and again while the connector is online.
func Report(ctx context.Context, file string, online func() bool) {
	if file == "" {
		return
	}
	defer os.Remove(file)
	for {
		if online() {
			os.WriteFile(file, []byte("online\n"), 0o600)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Check fails where the file has not been touched lately.
func Check(file string) error {
	if file == "" {
		return errors.New("HEALTH_FILE is not set: set it for the connector and for this check")
	}
	about, err := os.Stat(file)
	if err != nil {
		return errors.New("the connector has not been online yet")
	}
	if age := time.Since(about.ModTime()); age > expires {
		return fmt.Errorf("the connector has not been online for %.0f s", age.Seconds())
	}
	return nil
}
