package link

// resets are the errors of a connection that the other side has reset or closed. This system has
// no error values for them.
var resets []error
