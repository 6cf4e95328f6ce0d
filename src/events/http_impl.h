/*
 * http_impl.h
 *		The table of functions through which pg_flo talks to its HTTP module.
 *
 * The module is a shared library of its own, so that only workers that need it
 * map libcurl.  None of these functions throws, blocks or allocates in a memory
 * context.
 */
#ifndef FLO_HTTP_IMPL_H
#define FLO_HTTP_IMPL_H

#define FLO_HTTP_MODULE "$libdir/pg_flo_http"
#define FLO_HTTP_ENTRY "flo_http_functions"

/* Raised with every change of this file: both modules must agree */
#define FLO_HTTP_ABI 3

/* How much of an answer is kept, for error messages */
#define FLO_HTTP_WORDS 256

typedef struct FloHttp FloHttp;

/* What requests to one endpoint have in common; one request at a time */
typedef struct FloHttpLine FloHttpLine;

typedef struct FloHttpSocket
{
	int			sock;
	bool		read;
	bool		write;
} FloHttpSocket;

typedef struct FloHttpRequest
{
	const char *method;			/* NULL: POST */
	const char *url;			/* NULL: that of the line */
	const char *body;			/* stays as it is until the result is taken */
	size_t		len;
	const char *const *headers; /* copied; without a Content-Type the body is
								 * application/json */
	int			nheaders;
} FloHttpRequest;

typedef struct FloHttpResult
{
	FloHttpLine *line;
	int			status;			/* of the answer; 0: there was none */
	int64		retry_after;	/* s, 0: not said */
	char		error[256];		/* when there was no answer: words that are
								 * the same each time */
	const char *hint;			/* for that; may be NULL */
	char		words[FLO_HTTP_WORDS];	/* how the answer's body begins */

	/* of a line that keeps answers: all of the body, until its next request */
	const char *body;
	size_t		len;
	bool		cut;			/* it was longer than what is kept */
} FloHttpResult;

typedef struct FloHttpFunctions
{
	uint32		abi;

	/* NULL when memory is short */
	FloHttp    *(*open) (void);


	/* "kept": so many bytes of an answer are kept; 0: how it begins alone */
	FloHttpLine *(*open_line) (FloHttp *http, const char *url, long timeout_ms, size_t kept);
	void		(*close_line) (FloHttpLine *line);	/* gives up its request */

	/* Begin a request; false when memory is short */
	bool		(*send) (FloHttpLine *line, const FloHttpRequest *request);
	void		(*cancel) (FloHttpLine *line);

	/*
	 * What to wait for: number of sockets, and ms until act(-1) or take(), -1
	 * = no limit
	 */
	int			(*sockets) (FloHttp *http, FloHttpSocket *sockets, int room);
	long		(*timeout) (FloHttp *http);

	/* A socket is ready; -1: the time is up */
	void		(*act) (FloHttp *http, int sock, bool readable, bool writable);

	/* The next request that has ended */
	bool		(*take) (FloHttp *http, FloHttpResult *result);
} FloHttpFunctions;

typedef const FloHttpFunctions *(*FloHttpEntry) (void);

#endif
