//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	dbName     = "orders-db." + Zone
	dbDatabase = "orders"
	dbUser     = "app"
	dbPassword = "lab-password"
)

// startPostgres makes a cluster with TLS, the table orders, and the tables of
// pgbench.
func (l *Lab) startPostgres(ctx context.Context) error {
	owner, err := l.postgresUser()
	if err != nil {
		return err
	}
	addr, port, err := l.place(dbAddr, 5432)
	if err != nil {
		return err
	}
	if err := owner.own(owner.Home); err != nil {
		return err
	}
	bin := func(name string) string { return filepath.Join(l.tools.postgres, name) }
	data := filepath.Join(owner.Home, "data")
	run := func(c *exec.Cmd) error { _, err := output(c); return err }
	if err := run(l.Corp.CommandAs(ctx, owner, bin("initdb"), "--no-sync", "--no-instructions",
		"--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "-D", data)); err != nil {
		return err
	}
	_, certPEM, keyPEM, err := l.ca.issue(dbName)
	if err != nil {
		return err
	}
	files := map[string]string{
		"server.crt": string(certPEM),
		"server.key": string(keyPEM),
		"pg_hba.conf": "local all postgres trust\n" +
			"host all " + dbUser + " 0.0.0.0/0 scram-sha-256\n",
		"postgresql.auto.conf": "listen_addresses = '" + addr + "'\nport = " + strconv.Itoa(port) + "\n" +
			"unix_socket_directories = '" + owner.Home + "'\n" +
			"ssl = on\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n" +
			"max_connections = 300\nshared_buffers = 64MB\n",
	}
	for name, text := range files {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Chown(path, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	p, err := l.start(Postgres, syscall.SIGINT, l.Corp.CommandAs(l.ctx, owner, bin("postgres"), "-D", data))
	if err != nil {
		return err
	}
	// The server accepts connections before it can serve them; pg_isready knows.
	if err := p.ready(ctx, func() error {
		return run(l.Corp.CommandAs(ctx, owner, bin("pg_isready"), "-q", "-h", owner.Home, "-p", strconv.Itoa(port)))
	}); err != nil {
		return err
	}
	psql := func(database, text string) error {
		c := l.Corp.CommandAs(ctx, owner, bin("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", owner.Home,
			"-p", strconv.Itoa(port), "-U", "postgres", database)
		c.Stdin = strings.NewReader(text)
		return run(c)
	}
	if err := psql("postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s';\nCREATE DATABASE %s OWNER %[1]s;\n",
		dbUser, dbPassword, dbDatabase)); err != nil {
		return err
	}
	if err := psql(dbDatabase, `SET ROLE `+dbUser+`;
		CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL, quantity int NOT NULL);
		INSERT INTO orders VALUES (1, 'lamp', 3), (2, 'rope', 12), (3, 'bridge', 1);`); err != nil {
		return err
	}
	bench := l.Corp.CommandAs(ctx, owner, bin("pgbench"), "--initialize", "--quiet", "--scale=1",
		"-h", addr, "-p", strconv.Itoa(port), "-U", dbUser, dbDatabase)
	bench.Env = append(bench.Env, "PGPASSWORD="+dbPassword)
	if err := run(bench); err != nil {
		return err
	}
	l.setInfo(func(i *Info) {
		i.Postgres = &PostgresInfo{
			Host: dbName, Address: addr, Port: port, Database: dbDatabase, User: dbUser, Password: dbPassword,
		}
	})
	return nil
}

// postgresUser returns the user that runs the database. PostgreSQL refuses to run
// as root; Debian's package has made an account for it.
func (l *Lab) postgresUser() (User, error) {
	u := User{Name: "postgres", UID: os.Getuid(), GID: os.Getgid(), Home: filepath.Join(l.dir, "postgres")}
	if os.Geteuid() != 0 {
		return u, nil
	}
	account, err := user.Lookup(u.Name)
	if err != nil {
		return u, err
	}
	var uerr, gerr error
	u.UID, uerr = strconv.Atoi(account.Uid)
	u.GID, gerr = strconv.Atoi(account.Gid)
	return u, errors.Join(uerr, gerr)
}
