package main

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"

	_ "github.com/mattn/go-sqlite3" // the driver sqlite3
)

const sqliteOptions = "?_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_busy_timeout=5000"

// sqlite has one connection that writes, because SQLite has one writer at a time, and several
// that read. Each connection prepares each statement once.
type sqlite struct {
	writer, reader                   *sql.DB
	insert, get, list, provider, key *sql.Stmt
}

func openSQLite(ctx context.Context, path string) (*sqlite, error) {
	writer, err := openPool(path, 1, "")
	if err != nil {
		return nil, err
	}
	reader, err := openPool(path, max(4, runtime.NumCPU()), "&_query_only=on")
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	s := &sqlite{writer: writer, reader: reader}
	for _, statement := range []struct {
		prepared **sql.Stmt
		pool     *sql.DB
		text     string
	}{
		{&s.insert, writer, insertSQL},
		{&s.get, reader, getSQL},
		{&s.list, reader, listSQL},
		{&s.provider, reader, providerSQL},
		{&s.key, reader, keySQL},
	} {
		// SQLite numbers parameters with ?1, ?2 …
		text := strings.ReplaceAll(statement.text, "$", "?")
		if *statement.prepared, err = statement.pool.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// openPool opens connections that stay open.
func openPool(path string, connections int, options string) (*sql.DB, error) {
	pool, err := sql.Open("sqlite3", "file:"+path+sqliteOptions+options)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

func (s *sqlite) Insert(ctx context.Context, c *ClientType) error {
	result, err := s.insert.ExecContext(ctx, c.values()...)
	if err != nil {
		return err
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return errors.Join(err, errNotFound)
	}
	id, err := result.LastInsertId()
	c.ID = int32(id)
	return err
}

func (s *sqlite) Get(ctx context.Context, providerID, id int32) (*ClientType, error) {
	var c ClientType
	return &c, found(s.get.QueryRowContext(ctx, providerID, id).Scan(c.columns()...))
}

func (s *sqlite) List(ctx context.Context, providerID int32, r Range) ([]ClientType, error) {
	rows, err := s.list.QueryContext(ctx, providerID, r.After, r.Limit, r.Offset)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ClientType
	for rows.Next() {
		var c ClientType
		if err := rows.Scan(c.columns()...); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func (s *sqlite) RequireProvider(ctx context.Context, id int32) error {
	return found(s.provider.QueryRowContext(ctx, id).Scan(&id))
}

func (s *sqlite) KeyDigest(ctx context.Context, keyID string) (digest []byte, err error) {
	err = found(s.key.QueryRowContext(ctx, keyID).Scan(&digest))
	return digest, err
}

func (s *sqlite) Close() error { return errors.Join(s.reader.Close(), s.writer.Close()) }

func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errNotFound
	}
	return err
}
