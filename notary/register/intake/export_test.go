package intake

// Queued is how many statements wait to be written.
func (in *Intake) Queued() int {
	in.group.mu.Lock()
	defer in.group.mu.Unlock()
	return len(in.group.queue)
}

// Promised is how many items of batches were let in and are not queued.
func (in *Intake) Promised() int {
	in.group.mu.Lock()
	defer in.group.mu.Unlock()
	return in.group.reserved
}
