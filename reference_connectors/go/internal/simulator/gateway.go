// Package simulator is a Modbus TCP gateway with three energy meters behind it, and what makes them misbehave.
package simulator

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"meters/internal/meter"
	"meters/internal/modbus"
)

// Control is a function code of the range that Modbus leaves to everybody's own use. Its data are words.
const Control = 100

const (
	noFunction = 1
	noRegister = 2
	wrongValue = 3
	noPath     = 10
	noAnswer   = 11
	coilOn     = 0xFF00
)

// Gateway is a simulated gateway.
type Gateway struct {
	listener net.Listener
	meters   map[string]*simulated
	options  Options
}

// Options say what kind of gateway it is.
type Options struct {
	Port    int
	Faults  float64 // the share of the answers that go wrong by themselves
	Foreign bool    // it says that it is another device
}

// names are the meters in the order of their unit numbers, from 1 on.
var names = []string{"meter1", "meter2", "meter3"}

// Listen starts a gateway on loopback.
func Listen(options Options) (*Gateway, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", options.Port))
	if err != nil {
		return nil, err
	}
	g := &Gateway{listener: listener, options: options, meters: map[string]*simulated{
		"meter1": newMeter(350), "meter2": newMeter(1200), "meter3": newMeter(80),
	}}
	go g.accept()
	return g, nil
}

// Address is where it listens.
func (g *Gateway) Address() string { return g.listener.Addr().String() }

// Close ends it; connections that there are stay until their callers hang up.
func (g *Gateway) Close() error { return g.listener.Close() }

func (g *Gateway) accept() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.talk(conn)
	}
}

func (g *Gateway) talk(conn net.Conn) {
	defer conn.Close()
	for {
		var header [7]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint16(header[4:]))
		if length < 2 || length > 254 {
			return
		}
		pdu := make([]byte, length-1)
		if _, err := io.ReadFull(conn, pdu); err != nil {
			return
		}
		answer, fault := g.answer(header[6], pdu)
		adu := binary.BigEndian.AppendUint16(header[:4:4], uint16(len(answer)+1))
		adu = append(append(adu, header[6]), answer...)
		if !send(conn, adu, fault) {
			return
		}
	}
}

// answer returns the answer to a question, and how it goes wrong on its way.
func (g *Gateway) answer(unit byte, pdu []byte) (answer []byte, fault string) {
	if unit == meter.GatewayUnit {
		return g.own(pdu), ""
	}
	if unit < 1 || int(unit) > len(names) {
		return refuse(pdu, noPath), ""
	}
	one := g.meters[names[unit-1]]
	failing, delay, fault := one.trouble()
	time.Sleep(delay)
	if failing {
		return refuse(pdu, noAnswer), ""
	}
	if fault == "" && rand.Float64() < g.options.Faults {
		fault = Faults[rand.N(len(Faults))]
	}
	return one.answer(pdu), fault
}

// own answers what is asked of the gateway itself.
func (g *Gateway) own(pdu []byte) []byte {
	switch {
	case pdu[0] == Control:
		return g.control(strings.Fields(string(pdu[1:])))
	case len(pdu) == 5 && pdu[0] == modbus.ReadInputRegisters:
		magic := uint16(meter.GatewayMagic)
		if g.options.Foreign {
			magic = 0
		}
		return registers(pdu, []uint16{magic, uint16(len(names))})
	case len(pdu) == 5 && pdu[0] == modbus.ReadDiscreteInputs:
		covers := byte(0)
		for index, name := range names {
			if g.meters[name].coverOpen() {
				covers |= 1 << index
			}
		}
		return []byte{pdu[0], 1, covers}
	}
	return refuse(pdu, noFunction)
}

func (g *Gateway) control(words []string) []byte {
	refusal := []byte{Control | 0x80, wrongValue}
	if len(words) < 2 || g.meters[words[1]] == nil {
		return refusal
	}
	one := g.meters[words[1]]
	argument := strings.Join(words[2:], "")
	verbs := map[string]func(){
		"fail":    func() { one.failing = true },
		"recover": func() { one.failing, one.delay, one.fault = false, 0, "" },
		"slow":    func() { one.delay, _ = time.ParseDuration(argument) },
		"fault":   func() { one.fault = argument },
		"open":    func() { one.cover = true },
		"close":   func() { one.cover = false },
	}
	verb, known := verbs[words[0]]
	if !known {
		return refusal
	}
	one.change(verb)
	return []byte{Control, 0}
}

// answer answers what is asked of a meter.
func (s *simulated) answer(pdu []byte) []byte {
	if len(pdu) != 5 {
		return refuse(pdu, noFunction)
	}
	place, value := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	relay, limit := s.change(func() {
		switch {
		case pdu[0] == modbus.WriteCoil && place == meter.RelayCoil:
			s.relay = value == coilOn
		case pdu[0] == modbus.WriteRegister && place == meter.LimitAt:
			s.limit = value
		}
	})
	switch pdu[0] {
	case modbus.ReadInputRegisters:
		return registers(pdu, s.inputs())
	case modbus.ReadHoldingRegisters:
		return registers(pdu, []uint16{limit})
	case modbus.ReadCoils:
		if relay {
			return []byte{pdu[0], 1, 1}
		}
		return []byte{pdu[0], 1, 0}
	case modbus.WriteCoil, modbus.WriteRegister:
		if place != 0 {
			return refuse(pdu, noRegister)
		}
		return pdu
	}
	return refuse(pdu, noFunction)
}

func registers(pdu []byte, all []uint16) []byte {
	first, count := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	if first+count > len(all) {
		return refuse(pdu, noRegister)
	}
	answer := []byte{pdu[0], byte(2 * count)}
	for _, register := range all[first : first+count] {
		answer = binary.BigEndian.AppendUint16(answer, register)
	}
	return answer
}

func refuse(pdu []byte, code byte) []byte { return []byte{pdu[0] | 0x80, code} }
