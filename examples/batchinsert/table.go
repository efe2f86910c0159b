package main

import (
	"database/sql"
	"encoding/json"
	"fmt"

	_ "modernc.org/sqlite"

	"github.com/go-millrace/mqtt"
)

// openTable opens the database and creates the table if it does not exist.
func openTable(file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS readings (
		id      TEXT PRIMARY KEY,
		topic   TEXT NOT NULL,
		celsius REAL NOT NULL
	)`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return db, nil
}

// insert writes the readings of batch in one transaction and returns the number of readings that
// the table did not have.
func insert(db *sql.DB, batch mqtt.Batch) (added int64, err error) {
	tx, err := db.Begin() // without the context of run, so that Ctrl-C lets the batch finish
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // does nothing after Commit
	add, err := tx.Prepare(`INSERT INTO readings (id, topic, celsius) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return 0, err
	}
	defer add.Close()
	for _, d := range batch {
		var r reading
		if err := json.Unmarshal(d.Payload, &r); err != nil || r.ID == "" {
			fmt.Printf("rejected  %q\n", d.Payload)
			d.Reject(mqtt.PayloadFormatInvalid, "not a reading")
			continue
		}
		result, err := add.Exec(r.ID, d.Topic, r.Celsius)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		added += n
	}
	return added, tx.Commit()
}
