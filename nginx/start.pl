#!/usr/bin/perl
# Starts Nginx in a container on the listening sockets that the door (deploy/compose/door.py) holds, so that
# two Nginx accept from one queue while one replaces the other. Perl, because every Debian image has it and
# nothing else in this one can receive a socket. Without a door (Swarm, a container by itself) Nginx listens
# by itself. Writes the rate of an address (WARREN_ADDRESS_RATE, decisions/0030) and the listeners with TLS, where there
# is a certificate, where nginx.conf includes them.
use strict;
use warnings;
use Socket qw(AF_UNIX SOCK_STREAM sockaddr_un);
use POSIX qw(WNOHANG);

my $DOOR    = '/run/door/door.sock';
my @NGINX   = ('nginx', '-e', 'stderr', '-c', '/etc/nginx/warren.conf', '-g', 'daemon off;');
my $WAIT_S  = 30;    # for a door that starts at the same time, as after a power cut
my $MOST    = 8;     # sockets
my $RATE    = 100_000;    # requests a second, as deploy/native/layout.py has it
my @TLS     = ('/etc/nginx/tls/fullchain.pem', '/etc/nginx/tls/privkey.pem');
my %RECVMSG = (x86_64 => 47, aarch64 => 212);

limit($ENV{WARREN_ADDRESS_RATE} || 0);
tls(@TLS) if grep { -e } @TLS;
exec { $NGINX[0] } @NGINX unless -d '/run/door';

my $nginx = 0;
for my $name (qw(QUIT TERM INT HUP USR1)) {
    $SIG{$name} = sub { $nginx ? kill $name, $nginx : exit 1 };
}
# Wakes the select below when Nginx ends.
$SIG{CHLD} = sub { };

my $door = ask();
my @sockets = receive($door);
# The way Nginx itself gives its sockets to its successor: descriptors that are open already.
$ENV{NGINX} = join '', map { "$_;" } @sockets;

$nginx = fork // die "fork: $!\n";
if (!$nginx) {
    exec { $NGINX[0] } @NGINX or die "nginx: $!\n";
}
POSIX::close($_) for @sockets;

my $open = 1;
while (1) {
    my $ended = waitpid $nginx, WNOHANG;
    exit($? & 127 ? 1 : $? >> 8) if $ended == $nginx;
    my $ready = '';
    vec($ready, fileno $door, 1) = 1 if $open;
    my $found = select $ready, undef, undef, 1;
    # The door went, or is about to: nobody reaches these sockets any more. Finish and end; the engine
    # starts this container again, and there is another door to ask.
    if ($found > 0 && $open && !sysread $door, my $nothing, 1) {
        $open = 0;
        kill 'QUIT', $nginx;
    }
}

sub limit {
    my ($rate) = @_;
    unless ($rate =~ /^\d{1,6}$/ && $rate <= $RATE) {
        die "WARREN_ADDRESS_RATE is how many requests a second one address may send: "
            . "give a whole number from 1 to $RATE, or 0 for no limit.\n";
    }
    return unless $rate > 0;
    put('/tmp/address-zone.conf', "limit_req_zone \$warren_counted zone=warren_addresses:10m rate=${rate}r/s;");
    put('/tmp/address-limit.conf', "limit_req zone=warren_addresses burst=$rate nodelay;");
}

sub tls {
    for my $file (@_) {
        open my $given, '<', $file or die "$file: $!. TLS takes @_, both readable for the user $>: "
            . "mount a folder with both on /etc/nginx/tls, or none for plain HTTP.\n";
    }
    put('/tmp/http-tls.conf', 'include /etc/nginx/warren-tls.conf;');
    put('/tmp/server-tls.conf', 'listen 8443 ssl default_server backlog=1024;');
    put('/tmp/grpc-tls.conf', 'listen 8444 ssl default_server backlog=1024;');
}

sub put {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} "$text\n";
    close $file or die "$path: $!\n";
}

sub ask {
    for (1 .. $WAIT_S * 10) {
        socket my $asking, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!\n";
        if (connect $asking, sockaddr_un($DOOR)) {
            syswrite $asking, '?' or die "$DOOR: $!\n";
            return $asking;
        }
        select undef, undef, undef, 0.1;
    }
    die "$DOOR does not answer: is the service `door` running?\n";
}

# Perl has no recvmsg of its own: struct msghdr, iovec and cmsghdr are laid out by hand, for 64-bit Linux.
sub receive {
    my ($door) = @_;
    my $machine = (POSIX::uname())[4];
    my $number = $RECVMSG{$machine} // die "start.pl does not know recvmsg on $machine\n";
    my $room    = 16 + 4 * $MOST;
    my $byte    = pack 'x';
    my $control = pack "x$room";
    my $piece   = pack 'P Q', $byte, length $byte;
    my $message = pack 'Q L x4 P Q P Q l x4', 0, 0, $piece, 1, $control, length $control, 0;
    my $got = syscall $number, fileno $door, $message, 0;
    die "recvmsg: $!\n" if $got < 0;
    die "The door closed the connection.\n" if $got == 0;
    my ($length, $level, $type) = unpack 'Q l l', $control;
    die "The door sent no sockets.\n" unless $length > 16 && $level == 1 && $type == 1;
    return unpack 'l*', substr $control, 16, $length - 16;
}
