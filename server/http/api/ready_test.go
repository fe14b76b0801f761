package api

import "testing"

// What is wrong in words is told on this machine and in private networks, not to the world.
func TestWhoReadsDetails(t *testing.T) {
	for addr, near := range map[string]bool{"127.0.0.1:5": true, "[::1]:5": true, "10.1.2.3:5": true,
		"192.168.0.9:0":       true,
		"[::ffff:10.0.0.1]:7": true, "[fd00::1]:7": true, "[fe80::1%eth0]:7": true,
		"203.0.113.7:0": false, "[2001:db8::1]:9": false, "": false, "unix": false} {
		t.Run(addr, func(t *testing.T) {
			if got := isNear(addr); got != near {
				t.Errorf("%q: %v", addr, got)
			}
		})
	}
}
