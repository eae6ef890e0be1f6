package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"oauth-portal.example/bench/peer/gen/peerpb"
)

const (
	defaultPerPage = 20
	maxPerPage     = 1000
	minuteFormat   = "2006-01-02 15:04"
)

// restService serves the methods that grpc-gateway calls.
type restService struct {
	peerpb.UnimplementedPeerServiceServer
	storage Storage
}

// CreateClientType creates a client type.
func (s *restService) CreateClientType(ctx context.Context, request *peerpb.CreateClientTypeRequest) (*peerpb.ClientType, error) {
	sent := request.GetClientType()
	created, err := newClientType(request.GetProviderId(), ClientType{
		Name:          sent.GetName(),
		Description:   sent.GetDescription(),
		ResponseTypes: respell(split(sent.GetResponseTypes())),
		GrantTypes:    split(sent.GetGrantType()),
		AuthMethod:    sent.GetTokenEndpointAuthMethod(),
		AppType:       sent.GetOktaAppType(),
	})
	if err != nil {
		return nil, err
	}
	if err := s.storage.Insert(ctx, created); err != nil {
		return nil, err
	}
	return restMessage(created), nil
}

// GetClientType returns a client type.
func (s *restService) GetClientType(ctx context.Context, request *peerpb.GetClientTypeRequest) (*peerpb.ClientType, error) {
	found, err := s.storage.Get(ctx, request.GetProviderId(), request.GetId())
	if err != nil {
		return nil, err
	}
	return restMessage(found), nil
}

// ListClientTypes returns a page of client types.
func (s *restService) ListClientTypes(ctx context.Context, request *peerpb.ListClientTypesRequest) (*peerpb.ListClientTypesResponse, error) {
	page, perPage := int64(1), int64(defaultPerPage)
	if request.Page != nil {
		page = int64(request.GetPage())
	}
	if request.PerPage != nil {
		perPage = int64(request.GetPerPage())
	}
	if page < 1 || perPage < 1 || perPage > maxPerPage {
		return nil, invalid("page must be at least 1, per_page 1 to %d", maxPerPage)
	}
	found, err := list(ctx, s.storage, request.GetProviderId(), Range{Limit: perPage, Offset: (page - 1) * perPage})
	if err != nil {
		return nil, err
	}
	response := &peerpb.ListClientTypesResponse{ClientTypes: make([]*peerpb.ClientType, len(found))}
	for i := range found {
		response.ClientTypes[i] = restMessage(&found[i])
	}
	return response, nil
}

func restMessage(c *ClientType) *peerpb.ClientType {
	return &peerpb.ClientType{
		Name:                    c.Name,
		Description:             c.Description,
		ResponseTypes:           strings.Join(respell(c.ResponseTypes), ","),
		GrantType:               strings.Join(c.GrantTypes, ","),
		TokenEndpointAuthMethod: c.AuthMethod,
		OktaAppType:             c.AppType,
		Id:                      c.ID,
		CreatedAt:               minute(c.CreateTime),
		UpdatedAt:               minute(c.UpdateTime),
	}
}

// split returns the words of a comma-separated list.
func split(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return parts
}

// respell exchanges id_token and it_token: the REST API spells it the second way and rejects the
// first.
func respell(list []string) []string {
	result := slices.Clone(list)
	for i, word := range result {
		switch word {
		case "it_token":
			result[i] = "id_token"
		case "id_token":
			result[i] = "it_token"
		}
	}
	return result
}

func minute(t time.Time) string { return t.UTC().Format(minuteFormat) }
