package simulator

import (
	"math"
	"sync"
	"time"
)

// simulated is a meter with something behind it that draws power.
type simulated struct {
	mutex   sync.Mutex
	load    float64 // W
	relay   bool
	limit   uint16
	cover   bool
	joules  float64
	since   time.Time
	failing bool
	delay   time.Duration
	fault   string
}

func newMeter(load float64) *simulated {
	return &simulated{load: load, relay: true, limit: 5000, since: time.Now()}
}

// inputs returns the input registers.
func (s *simulated) inputs() []uint16 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := time.Now()
	swing := math.Sin(float64(now.UnixMilli()) / 20_000)
	watts := 0.0
	if s.relay {
		watts = s.load * (1 + 0.05*swing)
	}
	s.joules += watts * now.Sub(s.since).Seconds()
	s.since = now
	power, energy := uint32(int32(watts)), uint32(s.joules/3600)
	return []uint16{
		uint16(2300 + 20*swing),
		uint16(power >> 16), uint16(power),
		uint16(energy >> 16), uint16(energy),
		uint16(5000 + swing),
	}
}

// change does something to the meter and returns what it shows then.
func (s *simulated) change(what func()) (relay bool, limit uint16) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	what()
	return s.relay, s.limit
}

// trouble returns what is wrong with the meter.
func (s *simulated) trouble() (failing bool, delay time.Duration, fault string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.failing, s.delay, s.fault
}

func (s *simulated) coverOpen() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.cover
}
