package link

import (
	"net/http"
	"net/url"
	"strings"
)

// maxQuoted is how many bytes of an HTTP answer an error quotes.
const maxQuoted = 512

// minSecret is the length from which on a part of the request counts as a secret. Shorter parts,
// such as a version, occur in any text.
const minSecret = 6

// secretsOf returns the parts of the request that may be secrets: the query and its values, and the
// values of the headers and their last words, such as the token behind "Bearer".
func secretsOf(e *Endpoint, header http.Header) (secrets []string) {
	add := func(s string) {
		if len(s) >= minSecret {
			secrets = append(secrets, s)
		}
	}
	add(e.query)
	for part := range strings.FieldsFuncSeq(e.query, func(r rune) bool { return r == '&' || r == ';' }) {
		_, value, _ := strings.Cut(part, "=")
		add(value)
		if plain, err := url.QueryUnescape(value); err == nil && plain != value {
			add(plain)
		}
	}
	for _, values := range header {
		for _, value := range values {
			add(value)
			add(value[strings.LastIndexByte(value, ' ')+1:])
		}
	}
	return secrets
}

// quotable returns the beginning of body for an error. Secrets that the server has sent back are
// replaced, also a secret that is cut off at the end of body.
func quotable(body string, secrets []string) string {
	const hidden = "[hidden]"
	for _, secret := range secrets {
		body = strings.ReplaceAll(body, secret, hidden)
		for n := min(len(secret)-1, len(body)); n >= minSecret; n-- {
			if strings.HasSuffix(body, secret[:n]) {
				body = body[:len(body)-n] + hidden
				break
			}
		}
	}
	return body[:min(len(body), maxQuoted)]
}
