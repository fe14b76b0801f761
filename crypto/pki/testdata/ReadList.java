import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.PublicKey;
import java.security.Security;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509CRL;
import java.security.cert.X509CRLEntry;
import java.security.cert.X509Certificate;
import java.security.cert.X509Extension;
import java.text.ParseException;
import java.util.Date;
import java.util.Set;
import java.util.TreeSet;
import org.bouncycastle.asn1.ASN1GeneralizedTime;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.jcajce.spec.SM2ParameterSpec;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/**
 * Reads root.der, other.der, bad.der, good.der, standard.crl and noid.crl in a folder with BouncyCastle alone, and
 * prints what it finds: a line for each signature that was tried, and what the standard list says.
 */
public class ReadList {
    static final byte[] USER_ID = "1234567812345678".getBytes(StandardCharsets.US_ASCII), NO_ID = {};

    static String folder;
    static CertificateFactory factory;

    static InputStream file(String name) throws Exception {
        return new FileInputStream(folder + "/" + name);
    }

    static X509Certificate certificate(String name) throws Exception {
        try (InputStream in = file(name)) {
            return (X509Certificate) factory.generateCertificate(in);
        }
    }

    static X509CRL list(String name) throws Exception {
        try (InputStream in = file(name)) {
            return (X509CRL) factory.generateCRL(in);
        }
    }

    static boolean verifies(X509Certificate issuer, byte[] userId, byte[] content, byte[] signature) throws Exception {
        Signature s = Signature.getInstance("SM3withSM2", "BC");
        s.setParameter(new SM2ParameterSpec(userId));
        s.initVerify(issuer.getPublicKey());
        s.update(content);
        return s.verify(signature);
    }

    /** What a program does that knows nothing of user ids. */
    static boolean verifiesByItself(X509CRL list, PublicKey key) {
        try {
            list.verify(key, "BC");
            return true;
        } catch (Exception e) {
            return false;
        }
    }

    static byte[] extension(X509Extension of, String oid) {
        return ASN1OctetString.getInstance(of.getExtensionValue(oid)).getOctets();
    }

    static String revoked(X509CRLEntry e) throws ParseException {
        Date since = ASN1GeneralizedTime.getInstance(extension(e, "2.5.29.24")).getDate();
        return "revoked " + e.getSerialNumber().toString(16) + " " + e.getRevocationDate().toInstant() + " "
            + e.getRevocationReason() + " " + since.toInstant();
    }

    static void say(String what, Object found) {
        System.out.println(what + ": " + found);
    }

    public static void main(String[] args) throws Exception {
        folder = args[0];
        Security.addProvider(new BouncyCastleProvider());
        factory = CertificateFactory.getInstance("X.509", "BC");
        X509Certificate root = certificate("root.der"), other = certificate("other.der");
        X509Certificate bad = certificate("bad.der"), good = certificate("good.der");
        X509CRL standard = list("standard.crl"), noId = list("noid.crl");

        say("root", verifies(root, USER_ID, root.getTBSCertificate(), root.getSignature()));
        say("agency", verifies(root, USER_ID, good.getTBSCertificate(), good.getSignature()));
        say("agency, another root", verifies(other, USER_ID, good.getTBSCertificate(), good.getSignature()));
        byte[] content = standard.getTBSCertList(), same = noId.getTBSCertList();
        say("list", verifies(root, USER_ID, content, standard.getSignature()));
        say("list, by itself", verifiesByItself(standard, root.getPublicKey()));
        say("list, empty user id", verifies(root, NO_ID, content, standard.getSignature()));
        say("list, another root", verifies(other, USER_ID, content, standard.getSignature()));
        say("list without id", verifies(root, USER_ID, same, noId.getSignature()));
        say("list without id, by itself", verifiesByItself(noId, root.getPublicKey()));
        say("list without id, empty user id", verifies(root, NO_ID, same, noId.getSignature()));
        content[content.length - 1] ^= 1;
        say("list, altered", verifies(root, USER_ID, content, standard.getSignature()));

        say("issuer is root", standard.getIssuerX500Principal().equals(root.getSubjectX500Principal()));
        say("number", ASN1Integer.getInstance(extension(standard, "2.5.29.20")).getValue());
        say("thisUpdate", standard.getThisUpdate().toInstant());
        say("nextUpdate", standard.getNextUpdate().toInstant());
        Set<String> lines = new TreeSet<>();
        for (X509CRLEntry e : standard.getRevokedCertificates()) {
            lines.add(revoked(e));
        }
        for (String line : lines) {
            System.out.println(line);
        }
        say("bad is revoked", standard.isRevoked(bad));
        say("good is revoked", standard.isRevoked(good));
    }
}
