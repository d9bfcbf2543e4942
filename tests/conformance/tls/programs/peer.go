// Go's crypto/tls as a client and as a server. `peer client` makes a connection, has its payloads
// echoed and closes it in good order; `peer server` echoes until its input ends.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

var (
	address  = flag.String("address", "", "of the server")
	ca       = flag.String("ca", "", "what is trusted")
	cert     = flag.String("cert", "", "what is shown")
	key      = flag.String("key", "", "its key")
	version  = flag.String("version", "1.3", "the only version")
	cipher   = flag.String("cipher", "", "the only one, of TLS 1.2")
	ask      = flag.Bool("ask", false, "ask clients for certificates")
	tickets  = flag.Bool("tickets", true, "give tickets")
	small    = flag.Bool("small", false, "records begin small, as by default")
	late     = flag.Bool("late", false, "end its half before it reads what comes back")
	resume   = flag.Bool("resume", false, "twice, the second time by the first one's session")
	sizes    = []int{1, 100, 16383, 16384, 16385, 100000}
	patience = 60 * time.Second
)

func check(err error, what string) {
	if err != nil {
		fmt.Printf("failed: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func config() *tls.Config {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(*ca)
	check(err, "the issuers")
	pool.AppendCertsFromPEM(pem)
	made := &tls.Config{RootCAs: pool, ClientCAs: pool, ServerName: "localhost"}
	made.MinVersion = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[*version]
	made.MaxVersion = made.MinVersion
	made.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	made.SessionTicketsDisabled = !*tickets
	made.DynamicRecordSizingDisabled = !*small
	if *ask {
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	for _, suite := range tls.CipherSuites() {
		if suite.Name == *cipher {
			made.CipherSuites = []uint16{suite.ID}
		}
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		check(err, "the certificate")
		made.Certificates = []tls.Certificate{pair}
	}
	return made
}

func client(with *tls.Config) *tls.Conn {
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", *address, with)
	check(err, "the handshake")
	conn.SetDeadline(time.Now().Add(patience))
	for _, size := range sizes {
		sent, back := make([]byte, size), make([]byte, size)
		rand.Read(sent)
		go conn.Write(sent)
		_, err := io.ReadFull(conn, back)
		check(err, "an echo")
		if !bytes.Equal(sent, back) {
			check(errors.New("it is another"), fmt.Sprintf("an echo of %d bytes", size))
		}
	}
	last := make([]byte, 0)
	if *late {
		last = make([]byte, 500000)
		rand.Read(last)
		_, err := conn.Write(last)
		check(err, "to write")
	}
	check(conn.CloseWrite(), "to close one half") // close_notify
	rest, err := io.ReadAll(conn)                  // fails where there is none in return
	check(err, "the end")
	if !bytes.Equal(rest, last) {
		check(errors.New("something else came"), "the end")
	}
	conn.Close()
	return conn
}

func serve(with *tls.Config) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", with)
	check(err, "to listen")
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	var good, cut, refused, resumed int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func(conn *tls.Conn) {
				defer conn.Close()
				if conn.Handshake() != nil {
					atomic.AddInt64(&refused, 1)
					return
				}
				if conn.ConnectionState().DidResume {
					atomic.AddInt64(&resumed, 1)
				}
				if _, err := io.Copy(conn, conn); err != nil {
					atomic.AddInt64(&cut, 1)
				} else {
					atomic.AddInt64(&good, 1)
				}
			}(conn.(*tls.Conn))
		}
	}()
	io.ReadAll(os.Stdin)
	fmt.Printf("good %d cut %d refused %d resumed %d\n", good, cut, refused, resumed)
}

func main() {
	flag.CommandLine.Parse(os.Args[2:])
	with := config()
	if os.Args[1] == "server" {
		serve(with)
		return
	}
	state := client(with).ConnectionState()
	if *resume {
		state = client(with).ConnectionState()
	}
	fmt.Printf("good %s %v\n", tls.CipherSuiteName(state.CipherSuite), state.DidResume)
}
