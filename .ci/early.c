/*
 * early.c
 *		Preloaded beside the sanitizers' runtime: gets it initialized first.
 *
 * It initializes itself at the first malloc().  In a server that is one of
 * libp11-kit's constructor, within newlocale(): the runtime asks for a symbol
 * that is not there, the message about it is translated, and the lock that
 * newlocale() holds is taken and given back once more.  The next one who wants
 * it waits for ever.  Linked with -z initfirst, this comes before.
 */
#include <stdlib.h>

static void *volatile first;

__attribute__((constructor)) static void
initialize(void)
{
	first = malloc(1);
	free(first);
}
