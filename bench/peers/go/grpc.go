package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	oauthv1 "oauth-portal.example/go/portal/oauth/v1"
)

const (
	defaultPageSize = 50
	maxPageSize     = 200
)

// The enums of portal.oauth.v1 and the words of each.
var (
	responseTypeWords = newVocabulary("RESPONSE_TYPE_", oauthv1.ResponseType_name)
	grantTypeWords    = newVocabulary("GRANT_TYPE_", oauthv1.GrantType_name)
	authMethodWords   = newVocabulary("TOKEN_ENDPOINT_AUTH_METHOD_", oauthv1.TokenEndpointAuthMethod_name)
	appTypeWords      = newVocabulary("OKTA_APP_TYPE_", oauthv1.OktaAppType_name)
)

// vocabulary translates the numbers of an enum. The number 0 is the empty word.
type vocabulary struct {
	words   map[int32]string
	numbers map[string]int32
}

func newVocabulary(prefix string, names map[int32]string) vocabulary {
	v := vocabulary{map[int32]string{0: ""}, map[string]int32{"": 0}}
	for number, name := range names {
		if number != 0 {
			word := strings.ToLower(strings.TrimPrefix(name, prefix))
			v.words[number], v.numbers[word] = word, number
		}
	}
	return v
}

// word returns the word of a number, or the unknown number itself, which the rules reject.
func (v vocabulary) word(number int32) string {
	if word, ok := v.words[number]; ok {
		return word
	}
	return strconv.Itoa(int(number))
}

func wordsOf[E ~int32](v vocabulary, numbers []E) words {
	result := make(words, len(numbers))
	for i, number := range numbers {
		result[i] = v.word(int32(number))
	}
	return result
}

func enumOf[E ~int32](v vocabulary, list words) []E {
	result := make([]E, len(list))
	for i, word := range list {
		result[i] = E(v.numbers[word])
	}
	return result
}

// grpcService serves portal.oauth.v1.
type grpcService struct {
	oauthv1.UnimplementedClientTypeServiceServer
	storage Storage
}

// CreateClientType creates a client type.
func (s *grpcService) CreateClientType(ctx context.Context, request *oauthv1.CreateClientTypeRequest) (*oauthv1.ClientType, error) {
	sent := request.GetClientType()
	created, err := newClientType(request.GetProviderId(), ClientType{
		Name:          sent.GetName(),
		Description:   sent.GetDescription(),
		ResponseTypes: wordsOf(responseTypeWords, sent.GetResponseTypes()),
		GrantTypes:    wordsOf(grantTypeWords, sent.GetGrantTypes()),
		AuthMethod:    authMethodWords.word(int32(sent.GetTokenEndpointAuthMethod())),
		AppType:       appTypeWords.word(int32(sent.GetOktaAppType())),
	})
	if err != nil {
		return nil, err
	}
	if err := s.storage.Insert(ctx, created); err != nil {
		return nil, err
	}
	return grpcMessage(created), nil
}

// GetClientType returns a client type.
func (s *grpcService) GetClientType(ctx context.Context, request *oauthv1.GetClientTypeRequest) (*oauthv1.ClientType, error) {
	found, err := s.storage.Get(ctx, request.GetProviderId(), request.GetId())
	if err != nil {
		return nil, err
	}
	return grpcMessage(found), nil
}

// ListClientTypes returns the client types after the one that the page token names.
func (s *grpcService) ListClientTypes(ctx context.Context, request *oauthv1.ListClientTypesRequest) (*oauthv1.ListClientTypesResponse, error) {
	if request.GetFilter() != "" {
		return nil, status.Error(codes.Unimplemented, "the peer has no filters")
	}
	size := int64(request.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	size = min(size, maxPageSize)
	after := int64(0)
	if token := request.GetPageToken(); token != "" {
		var err error
		if after, err = strconv.ParseInt(token, 10, 32); err != nil || after < 0 {
			return nil, invalid("page_token is not a token of a response")
		}
	}
	if size < 0 {
		return nil, invalid("page_size must not be negative")
	}
	// One more than the page has: it shows whether there is a next page.
	found, err := list(ctx, s.storage, request.GetProviderId(), Range{After: after, Limit: size + 1})
	if err != nil {
		return nil, err
	}
	response := &oauthv1.ListClientTypesResponse{}
	if int64(len(found)) > size {
		found = found[:size]
		response.NextPageToken = strconv.Itoa(int(found[size-1].ID))
	}
	response.ClientTypes = make([]*oauthv1.ClientType, len(found))
	for i := range found {
		response.ClientTypes[i] = grpcMessage(&found[i])
	}
	return response, nil
}

func grpcMessage(c *ClientType) *oauthv1.ClientType {
	return &oauthv1.ClientType{
		Id:                      c.ID,
		Uid:                     c.UID,
		ProviderId:              c.ProviderID,
		Name:                    c.Name,
		Description:             c.Description,
		ResponseTypes:           enumOf[oauthv1.ResponseType](responseTypeWords, c.ResponseTypes),
		GrantTypes:              enumOf[oauthv1.GrantType](grantTypeWords, c.GrantTypes),
		TokenEndpointAuthMethod: oauthv1.TokenEndpointAuthMethod(authMethodWords.numbers[c.AuthMethod]),
		OktaAppType:             oauthv1.OktaAppType(appTypeWords.numbers[c.AppType]),
		CreateTime:              timestamppb.New(c.CreateTime),
		UpdateTime:              timestamppb.New(c.UpdateTime),
		Etag:                    etag(c),
	}
}

// etag changes with each write.
func etag(c *ClientType) string {
	digest := sha256.Sum256(c.UpdateTime.AppendFormat([]byte(c.UID), "2006-01-02T15:04:05.000000"))
	return fmt.Sprintf(`"%x"`, digest[:12])
}
