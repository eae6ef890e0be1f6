// Creates a client type, lists all client types, and prints the errors of an invalid one.
//
// PORTAL_TARGET is the host and port of the portal (default localhost:50051), PORTAL_KEY
// an API key.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	oauthv1 "oauth-portal.example/go/portal/oauth/v1"
)

const (
	provider = 1
	deadline = 5 * time.Second
)

// key is an API key; every call sends it.
type key string

func (k key) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(k)}, nil
}

// RequireTransportSecurity is false to allow the key without TLS; return true if
// the portal has TLS.
func (k key) RequireTransportSecurity() bool { return false }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	connection, err := grpc.NewClient(
		cmp.Or(os.Getenv("PORTAL_TARGET"), "localhost:50051"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(key(os.Getenv("PORTAL_KEY"))),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := oauthv1.NewClientTypeServiceClient(connection)

	if err := create(client); err != nil {
		return err
	}
	if err := list(client); err != nil {
		return err
	}
	return createInvalid(client)
}

func create(client oauthv1.ClientTypeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	clientType, err := client.CreateClientType(ctx, &oauthv1.CreateClientTypeRequest{
		ProviderId: provider,
		ClientType: &oauthv1.ClientType{
			Name: "Server-side application",
			Description: "Use this client configuration to create server-side applications " +
				"that don't act on behalf of end-users",
			ResponseTypes: []oauthv1.ResponseType{
				oauthv1.ResponseType_RESPONSE_TYPE_CODE,
				oauthv1.ResponseType_RESPONSE_TYPE_TOKEN,
			},
			GrantTypes: []oauthv1.GrantType{
				oauthv1.GrantType_GRANT_TYPE_AUTHORIZATION_CODE,
				oauthv1.GrantType_GRANT_TYPE_REFRESH_TOKEN,
				oauthv1.GrantType_GRANT_TYPE_PASSWORD,
			},
			TokenEndpointAuthMethod: oauthv1.TokenEndpointAuthMethod_TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC,
			OktaAppType:             oauthv1.OktaAppType_OKTA_APP_TYPE_WEB,
		},
		// The server does not repeat a request with the same id.
		RequestId: uuid.NewString(),
	})
	if err != nil {
		return err
	}
	fmt.Println("created", clientType.GetId(), clientType.GetName())
	return nil
}

func list(client oauthv1.ClientTypeServiceClient) error {
	request := &oauthv1.ListClientTypesRequest{ProviderId: provider, PageSize: 2}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		page, err := client.ListClientTypes(ctx, request)
		cancel()
		if err != nil {
			return err
		}
		for _, clientType := range page.GetClientTypes() {
			fmt.Println("listed", clientType.GetId(), clientType.GetName())
		}
		if page.GetNextPageToken() == "" {
			return nil
		}
		request.PageToken = page.GetNextPageToken()
	}
}

func createInvalid(client oauthv1.ClientTypeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_, err := client.CreateClientType(ctx, &oauthv1.CreateClientTypeRequest{
		ProviderId: provider,
		ClientType: &oauthv1.ClientType{},
	})
	rejection := status.Convert(err)
	if rejection.Code() != codes.InvalidArgument {
		return fmt.Errorf("an invalid client type: want INVALID_ARGUMENT, got %v", err)
	}
	fmt.Println("rejected INVALID_ARGUMENT")
	for _, detail := range rejection.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				fmt.Printf("  %s: %s\n", violation.GetField(), violation.GetDescription())
			}
		}
	}
	return nil
}
