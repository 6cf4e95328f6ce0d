/*
 * xids.c
 *		Transaction ids that come in any order and are looked for later.
 */
#include "postgres.h"

#include "core/xids.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

void
flo_xids_add(FloXids *list, MemoryContext context, TransactionId xid)
{
	if (list->count == list->room)
	{
		int			room = Max(list->room * 2, 16);

		if (list->xids == NULL)
			list->xids = MemoryContextAlloc(context, room * sizeof(TransactionId));
		else
			list->xids = repalloc_huge(list->xids, room * sizeof(TransactionId));
		list->room = room;
	}
	list->xids[list->count++] = xid;
}

void
flo_xids_sort(FloXids *list)
{
	if (list->count > 0)
		qsort(list->xids, list->count, sizeof(TransactionId), xidComparator);
}

bool
flo_xids_has(const FloXids *list, TransactionId xid)
{
	return list->count > 0 &&
		bsearch(&xid, list->xids, list->count, sizeof(TransactionId), xidComparator) != NULL;
}

void
flo_xids_free(FloXids *list)
{
	if (list->xids != NULL)
		pfree(list->xids);
	*list = (FloXids)
	{
		0
	};
}
