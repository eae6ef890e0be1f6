package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	maxName        = 255
	maxDescription = 4096
)

// ClientType is a client type as it is stored. Its words are those of the RFCs.
type ClientType struct {
	ID            int32
	UID           string
	ProviderID    int32
	Name          string
	Description   string
	ResponseTypes words
	GrantTypes    words
	AuthMethod    string // empty: not set
	AppType       string // empty: not set
	CreateTime    time.Time
	UpdateTime    time.Time
}

// The words that are allowed.
var (
	responseTypes = []string{"code", "token", "id_token", "none"}
	grantTypes    = []string{
		"authorization_code", "pkce", "client_credentials", "device_code", "refresh_token", "password", "implicit",
	}
	authMethods = []string{"", "client_secret_basic", "client_secret_post"}
	appTypes    = []string{"", "web", "native", "browser", "service"}
)

// invalidError lists what is wrong with a request.
type invalidError struct{ violations []string }

func (e *invalidError) Error() string { return strings.Join(e.violations, "; ") }

func invalid(format string, arguments ...any) error {
	return &invalidError{[]string{fmt.Sprintf(format, arguments...)}}
}

// newClientType checks the fields that a caller sent, and assigns the others except the ID.
func newClientType(providerID int32, sent ClientType) (*ClientType, error) {
	var violations []string
	reject := func(field, format string, arguments ...any) {
		violations = append(violations, field+" "+fmt.Sprintf(format, arguments...))
	}
	if strings.TrimSpace(sent.Name) == "" || utf8.RuneCountInString(sent.Name) > maxName {
		reject("name", "must have 1 to %d characters and not be blank", maxName)
	}
	if utf8.RuneCountInString(sent.Description) > maxDescription {
		reject("description", "must have at most %d characters", maxDescription)
	}
	checkWords := func(field string, found, allowed []string) words {
		if len(found) == 0 {
			reject(field, "must not be empty")
		}
		var distinct words
		for _, word := range found {
			if !slices.Contains(allowed, word) {
				reject(field, "has the unknown value %q", word)
			}
			if !slices.Contains(distinct, word) {
				distinct = append(distinct, word)
			}
		}
		return distinct
	}
	sent.ResponseTypes = checkWords("response_types", sent.ResponseTypes, responseTypes)
	sent.GrantTypes = checkWords("grant_types", sent.GrantTypes, grantTypes)
	checkWords("token_endpoint_auth_method", []string{sent.AuthMethod}, authMethods)
	checkWords("okta_app_type", []string{sent.AppType}, appTypes)
	if violations != nil {
		return nil, &invalidError{violations}
	}
	uid, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	sent.UID = uid.String()
	sent.ProviderID = providerID
	// PostgreSQL stores microseconds.
	sent.CreateTime = time.Now().UTC().Truncate(time.Microsecond)
	sent.UpdateTime = sent.CreateTime
	return &sent, nil
}
