//go:build !fewrounds

package keystore

// Iterations is the number of PBKDF2-HMAC-SHA256 rounds: the 600,000 that OWASP's Password
// Storage Cheat Sheet asks for, about 0.1 s per key on one core of 2024.
const Iterations = 600_000
