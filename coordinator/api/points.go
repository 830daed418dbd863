package api

import (
	"fmt"
	"net/http"
	"strconv"
)

// Point is what the charts show of a committed step. It is an element of GET
// /api/v1/steps?after=N&limit=M, the steps after N in order, and the event "step" of the stream.
type Point struct {
	Step           int     `json:"step"`
	Loss           float64 `json:"loss"`
	LogOdds        float64 `json:"log_odds"`
	WinnerMSE      float64 `json:"winner_mse"`
	LoserMSE       float64 `json:"loser_mse"`
	GradNorm       float64 `json:"grad_norm"`
	LearningRate   float64 `json:"learning_rate"`
	ItemsPerSecond float64 `json:"items_per_second"`
	DurationMS     float64 `json:"duration_ms"`
	RingMS         float64 `json:"ring_ms"`
	Ranks          int     `json:"ranks"`
}

// maxPoints bounds the steps of one answer.
const maxPoints = 10_000

// steps answers with recorded steps.
func steps(w http.ResponseWriter, r *http.Request, run Run) {
	after, err := number(r, "after", 0, 1<<31-1)
	if err == nil {
		var limit int
		if limit, err = number(r, "limit", maxPoints, maxPoints); err == nil {
			points, err := run.Points(after, limit)
			if err != nil {
				problem(w, http.StatusInternalServerError, err.Error())
				return
			}
			answer(w, points)
			return
		}
	}
	problem(w, http.StatusBadRequest, err.Error())
}

// number reads a number of the query from 0 to most; without one it is none.
func number(r *http.Request, name string, none, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return none, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s must be a whole number from 0 to %d, got %.20q", name, most, text)
	}
	return n, nil
}
