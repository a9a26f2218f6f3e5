package orders

import "time"

const (
	remembered     = 5 * time.Minute
	mostRemembered = 50_000
)

// Seen remembers ids for five minutes: QoS 1 may deliver a command twice (I2M-CMD-12). It is not for concurrent use.
type Seen struct {
	when  map[string]time.Time
	order []string
}

// Repeats says whether an id was seen before; from now on it was.
func (s *Seen) Repeats(id string, now time.Time) bool {
	for len(s.order) > 0 && (now.Sub(s.when[s.order[0]]) > remembered || len(s.order) >= mostRemembered) {
		delete(s.when, s.order[0])
		s.order = s.order[1:]
	}
	if _, known := s.when[id]; known {
		return true
	}
	if s.when == nil {
		s.when = map[string]time.Time{}
	}
	s.when[id] = now
	s.order = append(s.order, id)
	return false
}
