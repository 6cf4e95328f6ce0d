
=head1 NAME

FloNatsKeys - certificates, NKeys and credentials for nats-server, made in the test

=head1 SYNOPSIS

  my $keys = FloNatsKeys->new($dir);      # undef where openssl cannot do it
  $keys->authority('ca');
  $keys->certificate('server', 'ca', from => -3600, to => 3600);
  my $user = $keys->nkey('user', 'U');    # ->{public}, ->{seed}
  $keys->credentials('user', account => 'A', expires => time() + 5);

=head1 DESCRIPTION

Files are called after what is in them: NAME.key, NAME.crt, NAME.seed, NAME.jwt,
NAME.creds.  Secret ones are nobody else's to read.  Names in a certificate are
those of this host.

=cut

package FloNatsKeys;

use strict;
use warnings;
use Carp;
use JSON::PP ();
use MIME::Base64 ();
use POSIX qw(strftime);

my %prefix = (O => 14 << 3, A => 0, U => 20 << 3);

sub new
{
	my ($class, $dir) = @_;
	my $self = bless { dir => $dir, keys => {}, jti => 0 }, $class;

	return if !eval { $self->_openssl('genpkey -algorithm ed25519 -out try.key'); 1 };
	$self->_write('index.txt', '');
	return $self;
}

sub _openssl
{
	my ($self, $command) = @_;

	system("cd '$self->{dir}' && openssl $command >>openssl.log 2>&1") == 0 or croak "openssl $command";
}

# Written whole or not at all, as who rotates secrets does
sub _write
{
	my ($self, $name, $text) = @_;

	open my $file, '>', "$self->{dir}/$name.new" or croak "$name: $!";
	binmode $file;
	chmod 0600, "$self->{dir}/$name.new";
	print $file $text;
	close $file;
	rename "$self->{dir}/$name.new", "$self->{dir}/$name" or croak "$name: $!";
}

sub _read
{
	my ($self, $name) = @_;

	open my $file, '<', "$self->{dir}/$name" or croak "$name: $!";
	binmode $file;
	local $/;
	return scalar <$file>;
}

sub authority
{
	my ($self, $name) = @_;
	my $dir = $self->{dir};

	$self->_openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$name "
		  . "-keyout $name.key -out $name.crt");
	$self->_write("$name.cnf", <<"CONF");
[ca]
default_ca = d
[d]
database = $dir/index.txt
new_certs_dir = $dir
rand_serial = yes
unique_subject = no
default_md = sha256
policy = p
private_key = $dir/$name.key
certificate = $dir/$name.crt
[p]
commonName = supplied
CONF
}

# Valid between two moments, in seconds from now
sub certificate
{
	my ($self, $name, $authority, %param) = @_;
	my ($from, $to) =
	  map { strftime('%Y%m%d%H%M%SZ', gmtime(time() + $_)) } $param{from} // -3600, $param{to} // 86400;

	$self->_write('names', 'subjectAltName=' . ($param{names} || 'IP:127.0.0.1,DNS:localhost') . "\n");
	$self->_openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$name -keyout $name.key "
		  . "-out $name.csr");
	$self->_openssl("ca -batch -notext -config $authority.cnf -in $name.csr -out $name.crt -startdate $from "
		  . "-enddate $to -extfile names");
	chmod 0600, "$self->{dir}/$name.key";
}

sub _crc16
{
	my $crc = 0;

	for my $byte (unpack 'C*', $_[0])
	{
		$crc ^= $byte << 8;
		$crc = ($crc & 0x8000 ? ($crc << 1) ^ 0x1021 : $crc << 1) & 0xffff for 1 .. 8;
	}
	return pack 'v', $crc;
}

sub _base32
{
	my $bits = unpack 'B*', $_[0];
	my @letters = ('A' .. 'Z', 2 .. 7);

	$bits .= '0' x (-length($bits) % 5);
	return join '', map { $letters[oct "0b$_"] } $bits =~ /.{5}/g;
}

# Of a kind: O operator, A account, U user
sub nkey
{
	my ($self, $name, $kind) = @_;

	$self->_openssl("genpkey -algorithm ed25519 -out $name.pem");
	$self->_openssl("pkey -in $name.pem -pubout -outform DER -out $name.public");
	$self->_openssl("pkey -in $name.pem -outform DER -out $name.private");
	my ($public, $private) = map { substr $self->_read("$name.$_"), -32 } qw(public private);
	my $prefix = $prefix{$kind};
	my $seed = pack('CC', (18 << 3) | ($prefix >> 5), ($prefix & 31) << 3) . $private;
	my $key = {
		public => _base32(pack('C', $prefix) . $public . _crc16(pack('C', $prefix) . $public)),
		seed => _base32($seed . _crc16($seed)),
	};

	$self->_write("$name.seed", "$key->{seed}\n");
	return $self->{keys}{$name} = $key;
}

sub _base64 { return MIME::Base64::encode_base64($_[0], '') =~ tr{+/=}{-_}dr; }

# What "by" says of "of"
sub jwt
{
	my ($self, $of, $by, $claims, %param) = @_;
	my %says = (
		jti => 'test' . ++$self->{jti}, iat => time(), name => $of, iss => $self->{keys}{$by}{public},
		sub => $self->{keys}{$of}{public}, nats => { %$claims, version => 2 },
		$param{expires} ? (exp => int $param{expires}) : ());
	my $text = join '.', map { _base64(JSON::PP::encode_json($_)) } { typ => 'JWT', alg => 'ed25519-nkey' }, \%says;

	$self->_write('to_sign', $text);
	$self->_openssl("pkeyutl -sign -rawin -inkey $by.pem -in to_sign -out signature");
	my $jwt = "$text." . _base64($self->_read('signature'));
	$self->_write("$of.jwt", $jwt);
	return $jwt;
}

# An operator with accounts of these names, and one of the server's own: lines for its configuration
sub operator
{
	my ($self, @accounts) = @_;
	my %limits = map { $_ => -1 }
	  qw(subs data payload imports exports conn leaf mem_storage disk_storage streams consumer);
	my @preload;

	$self->nkey('operator', 'O');
	$self->jwt('operator', 'operator', { type => 'operator' });
	for my $account (@accounts, 'SYS')
	{
		# the server's own may not have JetStream
		my %may = map { $_ => $account eq 'SYS' && /storage|streams|consumer/ ? 0 : $limits{$_} } keys %limits;
		my $public = $self->nkey($account, 'A')->{public};
		push @preload, "$public: " . $self->jwt($account, 'operator',
			{ type => 'account', limits => { %may, wildcards => JSON::PP::true() } });
	}
	return qq{operator: "$self->{dir}/operator.jwt"\nsystem_account: $self->{keys}{SYS}{public}\n}
	  . "resolver: MEMORY\nresolver_preload {\n" . join("\n", @preload) . "\n}";
}

sub credentials
{
	my ($self, $user, %param) = @_;
	my $key = $self->{keys}{$user} || $self->nkey($user, 'U');
	my $jwt = $self->jwt($user, $param{account}, { type => 'user', subs => -1, data => -1, payload => -1 }, %param);

	$self->_write("$user.creds",
		"-----BEGIN NATS USER JWT-----\n$jwt\n------END NATS USER JWT------\n\n"
		  . "-----BEGIN USER NKEY SEED-----\n$key->{seed}\n------END USER NKEY SEED------\n");
}

# Another file under a name that is in use, in one step
sub rotate
{
	my ($self, $from, $to) = @_;
	$self->_write($to, $self->_read($from));
}

1;
