// Command peer is the peer of the portal in Go: grpc-go, grpc-gateway, and SQLite or PostgreSQL.
//
// It serves portal.oauth.v1 and, through grpc-gateway, the REST API of the other peers. Its
// settings are PEER_DATABASE_URL, PEER_GRPC_PORT and PEER_HTTP_PORT; the tables exist.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"oauth-portal.example/bench/peer/gen/peerpb"
	oauthv1 "oauth-portal.example/go/portal/oauth/v1"
)

//go:generate make -C ../../.. generate-peer

const stopTimeout = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err := run(ctx); err != nil {
		slog.Error("stopped", "error", err)
		os.Exit(1)
	}
}

// run serves until the context is done or a server fails.
func run(ctx context.Context) error {
	storage, err := openStorage(ctx, os.Getenv("PEER_DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer storage.Close()

	grpcAddress := "127.0.0.1:" + os.Getenv("PEER_GRPC_PORT")
	listener, err := net.Listen("tcp", grpcAddress)
	if err != nil {
		return err
	}
	server := newServer(storage)
	front, err := newFront(ctx, "127.0.0.1:"+os.Getenv("PEER_HTTP_PORT"), grpcAddress)
	if err != nil {
		return err
	}

	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	go func() { failed <- front.ListenAndServe() }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	timeout, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err = errors.Join(err, front.Shutdown(timeout))
	server.GracefulStop()
	return err
}

// newServer returns the gRPC server of both services.
func newServer(storage Storage) *grpc.Server {
	server := grpc.NewServer(grpc.UnaryInterceptor(interceptor(storage)))
	oauthv1.RegisterClientTypeServiceServer(server, &grpcService{storage: storage})
	peerpb.RegisterPeerServiceServer(server, &restService{storage: storage})
	return server
}

// newFront returns the REST front, which calls the gRPC server on the loopback interface.
func newFront(ctx context.Context, address, grpcAddress string) (*http.Server, error) {
	json := &runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitUnpopulated: true}}
	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, json))
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if err := peerpb.RegisterPeerServiceHandlerFromEndpoint(ctx, mux, grpcAddress, options); err != nil {
		return nil, err
	}
	return &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}, nil
}
