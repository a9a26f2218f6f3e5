// Energy meters behind a Modbus TCP gateway, on MQTT. One program: the connector, the action scripts that a setup flow
// asks, and the health check of a container.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"meters/internal/action"
	"meters/internal/connector"
	"meters/internal/health"
	"meters/internal/link"
	"meters/internal/meter"
	"meters/internal/settings"
)

const greeting = 3 * time.Second

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "meters:", err)
		os.Exit(1)
	}
}

func start(arguments []string) error {
	switch {
	case len(arguments) == 0:
		return serve()
	case len(arguments) == 1 && arguments[0] == "validate":
		return action.Answer("validate", os.Stdin, os.Stdout, action.Validate)
	case len(arguments) == 1 && arguments[0] == "discover":
		return action.Answer("discover", os.Stdin, os.Stdout, action.Discover)
	case len(arguments) == 1 && arguments[0] == "health":
		return health.Check(os.Getenv("HEALTH_FILE"))
	}
	return errors.New("use: meters, meters discover, meters validate, or meters health")
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	environment, err := settings.ReadEnvironment()
	if err != nil {
		return err
	}
	log := environment.Logger()
	secrets, err := environment.Secrets("_creds")
	if err != nil {
		return err
	}
	instance, err := settings.ReadInstance(environment.InstanceFile, secrets)
	if err != nil {
		return err
	}
	gateway := meter.NewGateway(connector.Address(instance.Address))
	if err := greet(ctx, gateway, log); err != nil {
		return fmt.Errorf("%s: %w: correct its connection", environment.InstanceFile, err)
	}
	to := link.New(environment, log)
	go health.Report(ctx, environment.HealthFile, to.Online)
	connector.New(environment, instance, to, log).Run(ctx, gateway)
	return nil
}

// greet ends the program where another device answers. A gateway that is away may come back: its meters are retried.
func greet(ctx context.Context, gateway *meter.Gateway, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, greeting)
	defer cancel()
	count, err := gateway.Identify(ctx)
	if errors.Is(err, meter.ErrOtherDevice) {
		return err
	}
	if err != nil {
		log.Warn("the gateway does not answer; trying again", "reason", err)
		return nil
	}
	log.Info("the gateway answers", "meters", count)
	return nil
}
