package main

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// errNotFound: there is no such row, or its provider does not exist.
var errNotFound = errors.New("not found")

// Range selects rows: those after an ID, without the first ones.
type Range struct{ After, Limit, Offset int64 }

// Storage runs one statement for each method. A write is durable when it returns.
type Storage interface {
	// Insert stores a client type and sets its ID.
	Insert(ctx context.Context, c *ClientType) error
	Get(ctx context.Context, providerID, id int32) (*ClientType, error)
	// List returns client types in ascending order of ID.
	List(ctx context.Context, providerID int32, r Range) ([]ClientType, error)
	// RequireProvider returns errNotFound if there is no such provider.
	RequireProvider(ctx context.Context, id int32) error
	// KeyDigest returns the SHA-256 of an API key that is valid.
	KeyDigest(ctx context.Context, keyID string) ([]byte, error)
	Close() error
}

const (
	// Inserts nothing if the provider does not exist.
	insertSQL = `INSERT INTO client_type (uid, provider_id, name, description, response_types,
  grant_types, token_endpoint_auth_method, okta_app_type, create_time, update_time)
SELECT $1, id, $3, $4, $5, $6, NULLIF($7, ''), NULLIF($8, ''), $9, $10 FROM provider WHERE id = $2`
	selectSQL = `SELECT id, uid, provider_id, name, description, response_types, grant_types,
  COALESCE(token_endpoint_auth_method, ''), COALESCE(okta_app_type, ''), create_time, update_time
FROM client_type `
	getSQL      = selectSQL + `WHERE id = $2 AND provider_id = $1`
	listSQL     = selectSQL + `WHERE provider_id = $1 AND id > $2 ORDER BY id LIMIT $3 OFFSET $4`
	providerSQL = `SELECT id FROM provider WHERE id = $1`
	keySQL      = `SELECT digest FROM api_key WHERE key_id = $1 AND revoke_time IS NULL`
)

// openStorage opens the database of a SQLAlchemy URL.
func openStorage(ctx context.Context, url string) (Storage, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:///"); ok {
		return openSQLite(ctx, path)
	}
	return openPostgres(ctx, strings.Replace(url, "+psycopg", "", 1))
}

// list returns rows of a provider. Only without rows it asks whether the provider exists.
func list(ctx context.Context, storage Storage, providerID int32, r Range) ([]ClientType, error) {
	found, err := storage.List(ctx, providerID, r)
	if err == nil && len(found) == 0 {
		err = storage.RequireProvider(ctx, providerID)
	}
	return found, err
}

// values returns the parameters of insertSQL.
func (c *ClientType) values() []any {
	return []any{
		c.UID, c.ProviderID, c.Name, c.Description, c.ResponseTypes, c.GrantTypes,
		c.AuthMethod, c.AppType, c.CreateTime, c.UpdateTime,
	}
}

// columns returns where the columns of selectSQL go.
func (c *ClientType) columns() []any {
	return []any{
		&c.ID, &c.UID, &c.ProviderID, &c.Name, &c.Description, &c.ResponseTypes, &c.GrantTypes,
		&c.AuthMethod, &c.AppType, &c.CreateTime, &c.UpdateTime,
	}
}

// words is a list of words, stored as JSON.
type words []string

// Value implements driver.Valuer.
func (w words) Value() (driver.Value, error) {
	text, err := json.Marshal([]string(w))
	return string(text), err
}

// Scan implements sql.Scanner.
func (w *words) Scan(source any) error {
	switch source := source.(type) {
	case string:
		return json.Unmarshal([]byte(source), (*[]string)(w))
	case []byte:
		return json.Unmarshal(source, (*[]string)(w))
	}
	return fmt.Errorf("cannot read words from %T", source)
}
