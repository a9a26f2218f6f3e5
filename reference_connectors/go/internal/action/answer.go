// Package action is what all action scripts share: one JSON object in on stdin, one out on stdout, nothing else there
// (I2M-ACT).
package action

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// Failure is a failure that the caller is told of.
type Failure struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retriable bool   `json:"retriable"`
}

func (f *Failure) Error() string { return f.Message }

type answer struct {
	OK     bool     `json:"ok"`
	Result any      `json:"result,omitempty"`
	Error  *Failure `json:"error,omitempty"`
}

// Answer answers one call of a tool; a failure that is handled is no error.
func Answer(tool string, in io.Reader, out io.Writer, run func(input Input) (any, *Failure)) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	input, failure := inputOf(tool, text)
	var result any
	if failure == nil {
		result, failure = run(input)
	}
	return json.NewEncoder(out).Encode(answer{OK: failure == nil, Result: result, Error: failure})
}

func inputOf(tool string, text []byte) (Input, *Failure) {
	var request struct {
		Tool  *string                     `json:"tool"`
		Input *map[string]json.RawMessage `json:"input"`
	}
	const form = "stdin must be one JSON object {tool, input}"
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, &Failure{Code: "invalid_request", Message: form + ", and is no JSON"}
	}
	if json.Unmarshal(text, &request) != nil || request.Input == nil || request.Tool == nil {
		return nil, &Failure{Code: "invalid_request", Message: form + ", and input an object"}
	}
	if *request.Tool != tool {
		return nil, &Failure{Code: "unknown_tool", Message: fmt.Sprintf("this is the tool %s", tool)}
	}
	return *request.Input, nil
}

// Input are the fields that a tool is given.
type Input map[string]json.RawMessage

// Text returns a text that must be there.
func (i Input) Text(name string) (string, *Failure) {
	var value string
	if json.Unmarshal(i[name], &value) != nil || value == "" {
		return "", &Failure{Code: "invalid_input", Message: name + " must be a text, and not an empty one"}
	}
	return value, nil
}

// Number returns a whole number, or the usual one where it is not given.
func (i Input) Number(name string, usual, least, most int) (int, *Failure) {
	text, given := i[name]
	if !given {
		return usual, nil
	}
	value := least - 1
	if json.Unmarshal(text, &value) != nil || value < least || value > most {
		message := fmt.Sprintf("%s must be a whole number from %d to %d", name, least, most)
		return 0, &Failure{Code: "invalid_input", Message: message}
	}
	return value, nil
}
