package simulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"meters/internal/meter"
)

// Tell does something to a meter of a running gateway: fail, recover, slow, fault, open or close.
func Tell(address string, words []string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return fmt.Errorf("no simulated gateway answers at %s: start one with `serve`", address)
	}
	defer conn.Close()
	text := strings.Join(words, " ")
	adu := binary.BigEndian.AppendUint16([]byte{0, 1, 0, 0}, uint16(len(text)+2))
	adu = append(append(adu, meter.GatewayUnit, Control), text...)
	if _, err := conn.Write(adu); err != nil {
		return err
	}
	var answer [9]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[7] != Control {
		return errors.New("the gateway does not understand: " + text)
	}
	return nil
}
