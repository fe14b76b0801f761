package console

import (
	"strconv"
	"time"

	"stele/ui"
)

// chart is a picture of numbers by day, in units of its own viewBox.
type chart struct {
	Width, Height int
	Base          int // y of the line that bars stand on
	Bars          []bar
	Lines         []chartLine
	From, To      string // the first and the last day
	Sum           int64
}

type bar struct {
	Day           string
	N             int64
	X, Y, W, H    int
	Label         string // under some of the bars
	Middle, Below int
}

// chartLine is a line of the scale.
type chartLine struct {
	Y    int
	Text string
}

// Sizes of the chart.
const (
	chartDays   = 30
	chartWidth  = 720
	chartHeight = 200
	chartLeft   = 68 // room for the scale
	chartTop    = 22
	chartBase   = 172
	labelEvery  = 5
)

// newChart draws the numbers of days that end with today in Beijing.
func newChart(days []int64, today time.Time) chart {
	c := chart{Width: chartWidth, Height: chartHeight, Base: chartBase}
	top := int64(1)
	for _, n := range days {
		top, c.Sum = max(top, n), c.Sum+n
	}
	top = roundUp(top)
	room := int64(chartBase - chartTop)
	step := (chartWidth - chartLeft) / len(days)
	for i, n := range days {
		at := today.In(ui.Beijing).AddDate(0, 0, i-len(days)+1)
		b := bar{Day: at.Format(dayForm), N: n, X: chartLeft + i*step + step/8, W: step - step/4,
			H: int(n * room / top)}
		if n > 0 {
			b.H = max(b.H, 2)
		}
		b.Y, b.Middle, b.Below = chartBase-b.H, chartLeft+i*step+step/2, chartBase+22
		if (len(days)-1-i)%labelEvery == 0 {
			b.Label = at.Format("01-02")
		}
		c.Bars = append(c.Bars, b)
	}
	for _, part := range []int64{0, 1, 2} {
		if top%2 == 0 || part != 1 {
			c.Lines = append(c.Lines, chartLine{chartBase - int(room*part/2), strconv.FormatInt(top*part/2, 10)})
		}
	}
	c.From, c.To = c.Bars[0].Day, c.Bars[len(days)-1].Day
	return c
}

// roundUp is the next number that is 1, 2 or 5 times a power of ten.
func roundUp(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, k := range []int64{1, 2, 5} {
			if k*unit >= n {
				return k * unit
			}
		}
	}
}
