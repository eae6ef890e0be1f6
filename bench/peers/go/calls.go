package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// An API key is oap_<ID of 8 characters>_<secret of 32 characters><checksum of 6 characters>, like
// those of the portal. The checksum is not verified.
const (
	keyPrefix = "oap_"
	idEnd     = len(keyPrefix) + 8
	keyLength = idEnd + 1 + 32 + 6
)

var (
	errUnauthenticated = status.Error(codes.Unauthenticated, "not a valid API key")
	// Compared with if there is no such key, so that the check takes as long.
	noDigest = make([]byte, sha256.Size)
)

// interceptor authenticates each call and writes a line to the log after it.
func interceptor(storage Storage) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		begin := time.Now()
		var response any
		key, err := authenticate(ctx, storage)
		if err == nil {
			response, err = handler(ctx, request)
		}
		if err != nil {
			err = asStatus(err)
		}
		slog.LogAttrs(ctx, slog.LevelInfo, "call",
			slog.String("method", info.FullMethod),
			slog.String("key", key),
			slog.String("code", status.Code(err).String()),
			slog.Duration("duration", time.Since(begin)),
		)
		return response, err
	}
}

// authenticate returns the ID of the caller's API key, which is looked up in the database, so
// that a key that was revoked is rejected at once.
func authenticate(ctx context.Context, storage Storage) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", errUnauthenticated
	}
	text := strings.TrimPrefix(values[0], "Bearer ")
	if len(text) != keyLength || !strings.HasPrefix(text, keyPrefix) || text[idEnd] != '_' {
		return "", errUnauthenticated
	}
	id := text[len(keyPrefix):idEnd]
	stored, err := storage.KeyDigest(ctx, id)
	if errors.Is(err, errNotFound) {
		stored = noDigest
	} else if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(text))
	if subtle.ConstantTimeCompare(digest[:], stored) != 1 {
		return "", errUnauthenticated
	}
	return id, nil
}

// asStatus returns the error of a response; what is not expected is logged and not shown.
func asStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	var invalid *invalidError
	switch {
	case errors.Is(err, errNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.As(err, &invalid):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	slog.Error("call failed", "error", err)
	return status.Error(codes.Internal, "internal error")
}
