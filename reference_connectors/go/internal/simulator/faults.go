package simulator

import (
	"net"
	"time"
)

// Faults are the ways in which an answer can go wrong, as those of real gateways do.
var Faults = []string{"hangup", "half", "stale", "garbage", "short", "dribble"}

const betweenBytes = time.Second

// send sends an answer, in the way of a fault where there is one; false where the connection is of no more use.
func send(conn net.Conn, adu []byte, fault string) bool {
	switch fault {
	case "hangup":
		return false
	case "half":
		conn.Write(adu[:len(adu)/2+2])
		return false
	case "stale": // the answer to a question that was asked before
		adu[1]--
	case "garbage":
		adu = []byte("HTTP/1.1 400 Bad Request\r\n\r\n")
	case "short": // fewer registers than were asked for
		adu = append(adu[:4:4], 0, 4, adu[6], adu[7], 1, 0)
	case "dribble":
		for index := range adu {
			if _, err := conn.Write(adu[index : index+1]); err != nil {
				return false
			}
			time.Sleep(betweenBytes)
		}
		return true
	}
	_, err := conn.Write(adu)
	return err == nil
}
