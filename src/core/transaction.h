/*
 * transaction.h
 *		Transactions of a background process's own.
 */
#ifndef FLO_TRANSACTION_H
#define FLO_TRANSACTION_H

/*
 * What StartTransactionCommand() and CommitTransactionCommand() are to a
 * backend, with what the server's main loop does around them: now() is the
 * present, and what was written is told to the statistics (at most once a
 * second).  Like these they leave another memory context behind.
 */
extern void flo_transaction_start(void);
extern void flo_transaction_commit(void);

/*
 * The same for decoding WAL: catalogs are looked up as they were there.  True when
 * nothing is known of them, since others were looked up before.
 */
extern bool flo_transaction_start_decoding(void);

/*
 * A commit without the statistics, for who has to do something at once after it; then
 */
extern void flo_transaction_close(void);

/*
 * Snapshots of others leave out the transactions of a process that is marked as
 * decoding, as such a one is not supposed to have any.  This one has: what it wrote
 * would count as aborted for whoever looks before its commit, and stay so.
 */
extern void flo_transaction_be_seen(void);

/* Tell the statistics, at most once a second */
extern void flo_statistics_report(void);

/*
 * For a process that may be about to wait for long: the same for what is left,
 * also of transactions that were aborted.  Does nothing inside a transaction.
 */
extern void flo_statistics_report_idle(void);

/*
 * To read or write a few rows: begin one, with a snapshot.  What is allocated
 * now goes with the transaction; who wants to keep something switches back to
 * the memory context that was current before, which is the result.
 */
extern MemoryContext flo_transaction_begin(void);

/* Commit it and go on in that memory context */
extern void flo_transaction_end(MemoryContext caller);

/*
 * One that reads with a snapshot that another process has exported, and writes
 * nothing; false when that one's transaction has ended meanwhile.  It has the
 * snapshot, and the memory context is the same as before.
 */
extern bool flo_transaction_start_at(const char *snapshot);

#endif
