/*
 * xids.h
 *		Transaction ids that come in any order and are looked for later.
 *
 * All zero is an empty list.  flo_xids_sort() comes before flo_xids_has().
 */
#ifndef FLO_XIDS_H
#define FLO_XIDS_H

typedef struct FloXids
{
	int			count;
	int			room;
	TransactionId *xids;		/* NULL: none yet */
} FloXids;

/* "context" is where the list lives; it matters the first time alone */
extern void flo_xids_add(FloXids *list, MemoryContext context, TransactionId xid);
extern void flo_xids_sort(FloXids *list);
extern bool flo_xids_has(const FloXids *list, TransactionId xid);
extern void flo_xids_free(FloXids *list);

#endif
