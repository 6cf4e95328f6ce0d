/*
 * transaction.h
 *		Transactions of a background process's own, to read or write a few rows.
 */
#ifndef FLO_TRANSACTION_H
#define FLO_TRANSACTION_H

/*
 * Begin one, with a snapshot.  What is allocated now goes with the transaction;
 * who wants to keep something switches back to the memory context that was
 * current before, which is the result.
 */
extern MemoryContext flo_transaction_begin(void);

/* Commit it and go on in that memory context */
extern void flo_transaction_end(MemoryContext caller);

#endif
