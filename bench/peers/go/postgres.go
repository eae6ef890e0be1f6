package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// As many as the pools of the other peers have.
const postgresConnections = 16

// postgres has a bounded pool; each connection prepares each statement once.
type postgres struct{ pool *pgxpool.Pool }

func openPostgres(ctx context.Context, url string) (*postgres, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = postgresConnections
	config.MinConns = postgresConnections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &postgres{pool}, err
}

func (p *postgres) Insert(ctx context.Context, c *ClientType) error {
	return one(p.pool.QueryRow(ctx, insertSQL+" RETURNING id", c.values()...).Scan(&c.ID))
}

func (p *postgres) Get(ctx context.Context, providerID, id int32) (*ClientType, error) {
	var c ClientType
	return &c, one(p.pool.QueryRow(ctx, getSQL, providerID, id).Scan(c.columns()...))
}

func (p *postgres) List(ctx context.Context, providerID int32, r Range) ([]ClientType, error) {
	rows, err := p.pool.Query(ctx, listSQL, providerID, r.After, r.Limit, r.Offset)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ClientType, err error) {
		err = row.Scan(c.columns()...)
		return c, err
	})
}

func (p *postgres) RequireProvider(ctx context.Context, id int32) error {
	return one(p.pool.QueryRow(ctx, providerSQL, id).Scan(&id))
}

func (p *postgres) KeyDigest(ctx context.Context, keyID string) (digest []byte, err error) {
	err = one(p.pool.QueryRow(ctx, keySQL, keyID).Scan(&digest))
	return digest, err
}

func (p *postgres) Close() error {
	p.pool.Close()
	return nil
}

func one(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound
	}
	return err
}
