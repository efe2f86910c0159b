package main

import (
	"database/sql"
	"encoding/json"
	"fmt"

	_ "modernc.org/sqlite"

	"github.com/go-millrace/mqtt"
)

// event is the payload of a message.
type event struct {
	Number *int64 `json:"number"` // of its topic, made by the publisher
	Text   string `json:"text"`
}

// openTable opens the database and creates the table if it does not exist. With _txlock=immediate a
// transaction waits at its beginning until no other worker writes. Otherwise it could fail at its
// first write.
func openTable(file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(30000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS events (
		place  INTEGER PRIMARY KEY, -- in order of the commits
		topic  TEXT NOT NULL,
		number INTEGER NOT NULL,
		text   TEXT NOT NULL,
		UNIQUE (topic, number)
	)`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return db, nil
}

// insert writes the events of batch in one transaction and returns the number of events that the
// table did not have.
func insert(db *sql.DB, batch mqtt.Batch) (added int64, err error) {
	tx, err := db.Begin() // without the context of run, so that Ctrl-C lets the batch finish
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, d := range batch {
		var e event
		if err := json.Unmarshal(d.Payload, &e); err != nil || e.Number == nil {
			fmt.Printf("rejected  %q\n", d.Payload)
			d.Reject(mqtt.PayloadFormatInvalid, "not an event")
			continue
		}
		result, err := tx.Exec(`INSERT INTO events (topic, number, text) VALUES (?, ?, ?) ON CONFLICT (topic, number) DO NOTHING`,
			d.Topic, *e.Number, e.Text)
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
