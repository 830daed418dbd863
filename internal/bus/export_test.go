package bus

// ClientURL is where the embedded server's client listener is.
func ClientURL(b *Bus) string { return b.server.ClientURL() }
