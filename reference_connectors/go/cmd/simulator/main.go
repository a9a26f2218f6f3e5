// A simulated Modbus TCP gateway with three energy meters.
//
//	simulator -port 5020 serve
//	simulator -port 5020 open meter1
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"meters/internal/simulator"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(1)
	}
}

func run() error {
	port := flag.Int("port", 5020, "where it listens, on loopback")
	share := flag.Float64("faults", 0, "the share of the answers that go wrong by themselves, from 0 to 1")
	foreign := flag.Bool("foreign", false, "say that this is another kind of device")
	flag.Parse()
	words := flag.Args()
	if len(words) == 0 {
		return errors.New("say what to do: serve, or fail, recover, slow, fault, open or close and a meter")
	}
	if words[0] != "serve" {
		return simulator.Tell(fmt.Sprintf("127.0.0.1:%d", *port), words)
	}
	gateway, err := simulator.Listen(simulator.Options{Port: *port, Faults: *share, Foreign: *foreign})
	if err != nil {
		return err
	}
	fmt.Println("the gateway listens on", gateway.Address())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	return gateway.Close()
}
