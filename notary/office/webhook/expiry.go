package webhook

import "time"

// ExpirySteps are how many days before the end of its certificate an agency is told, in the order in which they come.
// 0 is when it has ended.
var ExpirySteps = []int{90, 60, 30, 14, 7, 3, 1, 0}

const day = 24 * time.Hour

// DaysLeft is how many days a certificate that ends then has left. A day that has begun counts, so 0 means that it
// has ended, and a message that is sent in time names its step.
func DaysLeft(ends, now time.Time) int {
	left := ends.Sub(now)
	if left <= 0 {
		return 0
	}
	n := int(left / day)
	if left%day > 0 {
		n++
	}
	return n
}

// ExpiryStep is the step at which a certificate with so many days left is: the last one that has come. due is false
// where none has, and nobody is to be told yet.
func ExpiryStep(daysLeft int) (step int, due bool) {
	for _, s := range ExpirySteps {
		if daysLeft <= s {
			step, due = s, true
		}
	}
	return step, due
}
