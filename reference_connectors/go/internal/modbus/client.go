// Package modbus speaks Modbus TCP: one question, one answer, on a connection that is kept for the next one.
package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Function codes.
const (
	ReadCoils            = 1
	ReadDiscreteInputs   = 2
	ReadHoldingRegisters = 3
	ReadInputRegisters   = 4
	WriteCoil            = 5
	WriteRegister        = 6
)

const (
	headerSize = 7
	longestPDU = 253
	exception  = 0x80
	coilOn     = 0xFF00
)

// An Exception is a refusal of the device or of the gateway before it.
type Exception byte

func (e Exception) Error() string {
	known := map[Exception]string{
		1: "the function is not supported", 2: "there is no such register", 3: "the value is not allowed",
		4: "the device has failed", 6: "the device is busy", 10: "the gateway has no path to the device",
		11: "the device does not answer the gateway",
	}
	if text, ok := known[e]; ok {
		return text
	}
	return fmt.Sprintf("the device answered with the exception %d", byte(e))
}

// Client asks one unit. It is not safe for concurrent use: a device is asked one thing after another.
type Client struct {
	Address string
	Unit    byte
	Timeout time.Duration // for each answer

	conn        net.Conn
	transaction uint16
}

// Registers reads registers with one of the two functions for that.
func (c *Client) Registers(ctx context.Context, function byte, first, count uint16) ([]uint16, error) {
	data, err := c.read(ctx, function, first, count, int(2*count))
	if err != nil {
		return nil, err
	}
	registers := make([]uint16, count)
	for index := range registers {
		registers[index] = binary.BigEndian.Uint16(data[2*index:])
	}
	return registers, nil
}

// Bits reads coils or discrete inputs.
func (c *Client) Bits(ctx context.Context, function byte, first, count uint16) ([]bool, error) {
	data, err := c.read(ctx, function, first, count, int(count+7)/8)
	if err != nil {
		return nil, err
	}
	bits := make([]bool, count)
	for index := range bits {
		bits[index] = data[index/8]>>(index%8)&1 == 1
	}
	return bits, nil
}

// SetCoil switches a coil.
func (c *Client) SetCoil(ctx context.Context, coil uint16, on bool) error {
	value := uint16(0)
	if on {
		value = coilOn
	}
	return c.write(ctx, WriteCoil, coil, value)
}

// SetRegister writes a holding register.
func (c *Client) SetRegister(ctx context.Context, register, value uint16) error {
	return c.write(ctx, WriteRegister, register, value)
}

// Close hangs up; the next question calls again.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *Client) read(ctx context.Context, function byte, first, count uint16, size int) ([]byte, error) {
	answer, err := c.ask(ctx, question(function, first, count))
	if err != nil {
		return nil, err
	}
	if len(answer) != size+1 || int(answer[0]) != size {
		return nil, c.broken("an answer of the wrong length")
	}
	return answer[1:], nil
}

// write checks that the device repeats what it was told, which is how it agrees.
func (c *Client) write(ctx context.Context, function byte, place, value uint16) error {
	asked := question(function, place, value)
	answer, err := c.ask(ctx, asked)
	if err == nil && string(answer) != string(asked[1:]) {
		err = c.broken("another value than was written")
	}
	return err
}

func question(function byte, one, other uint16) []byte {
	pdu := []byte{function}
	pdu = binary.BigEndian.AppendUint16(pdu, one)
	return binary.BigEndian.AppendUint16(pdu, other)
}

// ask sends a question and returns the answer without its function code. After anything but an exception of the
// device, the connection is of no more use: what arrives on it later would answer the wrong question.
func (c *Client) ask(ctx context.Context, pdu []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	answer, err := c.exchange(ctx, pdu)
	var refusal Exception
	if err == nil || errors.As(err, &refusal) {
		return answer, err
	}
	c.Close()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no answer from unit %d at %s in time: %w", c.Unit, c.Address, ctx.Err())
	}
	return nil, err
}

func (c *Client) exchange(ctx context.Context, pdu []byte) ([]byte, error) {
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.Address)
		if err != nil {
			return nil, err
		}
		c.conn = conn
	}
	conn := c.conn
	conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c.transaction++
	if _, err := conn.Write(frame(c.transaction, c.Unit, pdu)); err != nil {
		return nil, err
	}
	return c.answer(pdu[0])
}

func frame(transaction uint16, unit byte, pdu []byte) []byte {
	adu := binary.BigEndian.AppendUint16(nil, transaction)
	adu = append(adu, 0, 0)
	adu = binary.BigEndian.AppendUint16(adu, uint16(len(pdu)+1))
	return append(append(adu, unit), pdu...)
}

func (c *Client) answer(function byte) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.conn, header[:]); err != nil {
		return nil, c.cutOff(err)
	}
	length := int(binary.BigEndian.Uint16(header[4:]))
	if binary.BigEndian.Uint16(header[2:]) != 0 || length < 3 || length > longestPDU+1 {
		return nil, c.broken("something that is not Modbus")
	}
	if binary.BigEndian.Uint16(header[:]) != c.transaction || header[6] != c.Unit {
		return nil, c.broken("an answer to another question")
	}
	pdu := make([]byte, length-1)
	if _, err := io.ReadFull(c.conn, pdu); err != nil {
		return nil, c.cutOff(err)
	}
	switch pdu[0] {
	case function:
		return pdu[1:], nil
	case function | exception:
		return nil, Exception(pdu[1])
	}
	return nil, c.broken("an answer to another function")
}

func (c *Client) cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the gateway at %s hung up in the middle of an answer", c.Address)
	}
	return err
}

func (c *Client) broken(what string) error {
	c.Close()
	return fmt.Errorf("%s came from %s", what, c.Address)
}
