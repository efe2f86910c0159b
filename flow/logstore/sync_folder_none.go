//go:build windows || plan9

package logstore

// syncFolder does nothing: these systems cannot sync a folder.
func syncFolder(string) error { return nil }
